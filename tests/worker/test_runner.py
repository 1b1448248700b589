"""Workers that are killed and frozen: others take over in time, and nothing is written twice."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from time import monotonic
from typing import Any

import pytest

from core.domain.routing import QueueName
from core.domain.task import TaskStatus
from core.store.tasks import read_history
from core.store.workers import close_worker
from tests.support.behaviours import hang, reply
from tests.support.store import Store
from tests.support.valkey import PrivateValkey
from tests.support.worker_bench import (
    PICTURE,
    WorkerBench,
    gated,
    in_turn,
    open_bench,
    running_worker,
    until,
    worker_ids,
)
from tests.support.worker_process import WorkerProcess, is_gone, worker_process

LEASE_SECONDS = 2.0
SLACK_SECONDS = 2.0
"""For a machine that has other things to do."""
CHANGES: dict[str, Any] = {"queue": {"lease_seconds": LEASE_SECONDS}, "recognise": {"children": 1}}


@asynccontextmanager
async def two_workers(
    url: str, valkey: PrivateValkey, folder: Path
) -> AsyncIterator[tuple[WorkerBench, WorkerProcess]]:
    """Run a worker of its own, and later another one in this process."""
    async with open_bench(url, valkey, folder, CHANGES) as bench, worker_process(bench.settings) as one:
        yield bench, one


async def test_the_task_of_a_killed_worker_is_taken_back_and_completed_by_another(
    sqlite_url: str, valkey: PrivateValkey, tmp_path: Path
) -> None:
    async with two_workers(sqlite_url, valkey, tmp_path) as (bench, one):
        first, last = bench.pictures.url("/first.jpg"), in_turn(hang(), reply(200, PICTURE))
        task = await bench.submit(first, bench.pictures.serve("/last.jpg", last))
        await bench.reached(task, lambda task: task.images_completed == 1)
        async with running_worker(bench.settings):
            await until(lambda: worker_ids(bench), lambda ids: len(ids) == 2)
            # It may declare others dead once it has lived for a lease itself.
            steady_at = monotonic() + LEASE_SECONDS
            beside = await bench.submit(bench.pictures.url("/beside.jpg"))
            await bench.ended(beside)
            children = one.children
            one.signal(signal.SIGKILL)
            killed_at = max(monotonic(), steady_at)
            await bench.reached(task, lambda task: task.crashes == 1)
            assert monotonic() - killed_at < LEASE_SECONDS + 1 + SLACK_SECONDS
            after = await bench.ended(task)
            sent, tries = await bench.delivery_ended(task)
        assert children
        assert all(is_gone(pid) for pid in children)
        assert (after.status, after.attempt, after.failures, after.crashes) == ("completed", 2, 0, 1)
        assert bench.fetches("/first.jpg") == 1
        assert (sent.status, len(tries)) == ("delivered", 1)
        whys = [line.why for line in await read_history(bench.base.db, task.id)]
        assert whys.count("worker lost") == 1


@pytest.mark.mariadb
async def test_a_frozen_worker_that_wakes_writes_nothing_and_registers_anew(
    mariadb_url: str, valkey: PrivateValkey, tmp_path: Path
) -> None:
    async with two_workers(mariadb_url, valkey, tmp_path) as (bench, one):
        gate = asyncio.Event()
        then = in_turn(gated(gate, reply(200, PICTURE)), reply(200, PICTURE))
        task = await bench.submit(bench.pictures.serve("/frozen.jpg", then))
        await bench.running(task)
        (frozen_id,) = await worker_ids(bench)
        async with running_worker(bench.settings):
            await until(lambda: worker_ids(bench), lambda ids: len(ids) == 2)
            one.signal(signal.SIGSTOP)
            await bench.ended(task)
            gate.set()
            one.signal(signal.SIGCONT)
            await one.logged("worker.declared_dead")
            ids = await until(lambda: worker_ids(bench), lambda ids: len(ids) == 2)
            assert frozen_id not in ids
            sent, tries = await bench.delivery_ended(task)
        after = await bench.reload(task)
        assert (after.status, after.attempt, after.crashes) == ("completed", 2, 1)
        assert (sent.status, len(tries)) == ("delivered", 1)
        ends = [line for line in await read_history(bench.base.db, task.id) if line.to_status.is_final]
        assert [line.attempt for line in ends] == [2]
        # Its new self works.
        again = await bench.submit(bench.pictures.url("/again.jpg"))
        assert (await bench.ended(again)).status is TaskStatus.COMPLETED


async def test_a_result_whose_worker_died_before_it_settled_is_delivered_all_the_same(
    sqlite_url: str, tmp_path: Path
) -> None:
    with PrivateValkey() as own:
        async with two_workers(sqlite_url, own, tmp_path) as (bench, one):
            gate = asyncio.Event()
            url = bench.pictures.serve("/settled.jpg", gated(gate, reply(200, PICTURE)))
            task = await bench.submit(url)
            await bench.running(task)
            await bench.pictures.wait_for_requests(1)
            own.freeze()
            gate.set()
            after = await bench.ended(task)
            (promised,) = await bench.deliveries(task)
            assert (after.status, promised.status) == ("completed", "pending")
            one.signal(signal.SIGKILL)
            await one.ended()
            own.thaw()
            async with running_worker(bench.settings):
                sent, tries = await bench.delivery_ended(task)
                assert (sent.status, len(tries)) == ("delivered", 1)
                stats = await until(
                    lambda: bench.stats(QueueName.RECOGNITION), lambda stats: stats.leased == 0
                )
                assert stats.waiting == 0
            assert (await bench.reload(task)).attempt == 1


async def test_the_log_holds_no_query_and_no_secret(
    sqlite_url: str, valkey: PrivateValkey, tmp_path: Path
) -> None:
    async with two_workers(sqlite_url, valkey, tmp_path) as (bench, one):
        urls = [bench.pictures.url("/log.jpg?key=geheim"), bench.pictures.serve("/no.jpg", reply(404))]
        task = await bench.submit(*urls, metadata={"note": "geheim"})
        await bench.delivery_ended(await bench.ended(task))
        lost = await bench.submit("http://127.0.0.1:1/picture.jpg?key=geheim", timeout_seconds=1)
        await bench.reached(lost, lambda task: task.failures == 1)
        ended = await one.logged("attempt.ended")
        await one.logged("delivery.attempted")
        assert (ended["task_id"], ended["attempt"], ended["outcome"]) == (task.id, 1, "completed")
        for secret in ("geheim", "whsec_", "k" * 32, "c3Nzc3Nz"):
            assert secret not in one.text


async def test_a_worker_that_was_declared_dead_by_mistake_registers_anew_and_goes_on(
    sqlite_url: str, valkey: PrivateValkey, tmp_path: Path
) -> None:
    async with open_bench(sqlite_url, valkey, tmp_path, CHANGES) as bench, running_worker(bench.settings):
        (before,) = await until(lambda: worker_ids(bench), lambda ids: len(ids) == 1)
        await close_worker(bench.base.db, before)
        task = await bench.submit(bench.pictures.url("/mistake.jpg"))
        (after,) = await until(lambda: worker_ids(bench), lambda ids: len(ids) == 1)
        assert after != before
        ended = await bench.ended(task)
        assert (ended.status, ended.attempt, ended.crashes) == (TaskStatus.COMPLETED, 1, 0)
        # Deliveries too are released by a closed worker, not dropped.
        held = await bench.store(bench.pictures.url("/mistake.jpg"), queue_ttl_seconds=3600)
        await bench.cancel(held)
        (promised,) = await bench.deliveries(held)
        await close_worker(bench.base.db, after)
        await bench.base.plan.enqueue_deliveries([promised])
        sent, tries = await bench.delivery_ended(held, limit_seconds=LEASE_SECONDS + SLACK_SECONDS)
        assert (sent.status, len(tries)) == ("delivered", 1)


async def test_a_row_that_its_own_worker_does_not_know_goes_back_at_no_cost(
    sqlite_url: str, valkey: PrivateValkey, tmp_path: Path
) -> None:
    async with open_bench(sqlite_url, valkey, tmp_path, CHANGES) as bench, running_worker(bench.settings):
        (worker_id,) = await until(lambda: worker_ids(bench), lambda ids: len(ids) == 1)
        store = Store(db=bench.base.db, ids=bench.base.ids, promises=bench.base.promises)
        # As after a claim whose start was committed and whose answer was lost.
        task = await bench.store(bench.pictures.url("/unknown.jpg"))
        await store.start(task, worker_id=worker_id)
        after = await bench.ended(task)
        assert (after.status, after.attempt, after.failures, after.crashes) == ("completed", 2, 0, 0)
        whys = [line.why for line in await read_history(bench.base.db, task.id)]
        assert "unknown to its worker" in whys
