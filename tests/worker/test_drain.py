"""A worker process that is told to go: it finishes what fits and hands the rest back at no cost."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path
from time import monotonic

from core.domain.routing import QueueName
from core.domain.task import TaskStatus
from core.store.tasks import read_history
from tests.support.behaviours import hang, reply
from tests.support.valkey import PrivateValkey
from tests.support.worker_bench import (
    PICTURE,
    WorkerBench,
    gated,
    open_bench,
    until,
    worker_ids,
    worker_settings,
)
from tests.support.worker_process import WorkerProcess, is_gone, unready_worker_process, worker_process

DRAIN_SECONDS = 2.0


async def test_a_drained_worker_finishes_what_fits_and_hands_back_the_rest(
    sqlite_url: str, valkey: PrivateValkey, tmp_path: Path
) -> None:
    changes = {"worker": {"slots": 2, "drain_seconds": DRAIN_SECONDS}, "recognise": {"children": 1}}
    async with (
        open_bench(sqlite_url, valkey, tmp_path, changes) as bench,
        worker_process(bench.settings) as one,
    ):
        gate = asyncio.Event()
        fits = await bench.submit(bench.pictures.serve("/fits.jpg", gated(gate, reply(200, PICTURE))))
        stays = await bench.submit(
            bench.pictures.url("/done.jpg"), bench.pictures.serve("/stays.jpg", hang())
        )
        await bench.running(fits)
        await bench.reached(stays, lambda task: task.images_completed == 1)
        waits = await bench.submit(bench.pictures.url("/waits.jpg"))
        children = one.children
        one.signal(signal.SIGTERM)
        await one.logged("worker.draining")
        gate.set()
        assert await one.ended() == 0
        assert (await bench.reload(fits)).status is TaskStatus.COMPLETED
        task = await bench.reload(stays)
        assert (task.status, task.attempt, task.failures, task.crashes) == ("pending", 1, 0, 0)
        assert (task.images_completed, task.next_attempt_at) == (1, None)
        assert (await read_history(bench.base.db, stays.id))[-1].why == "drained"
        assert (await bench.reload(waits)).attempt == 0
        stats = await bench.stats(QueueName.RECOGNITION)
        assert (stats.ready, stats.leased) == (2, 0)
        assert await worker_ids(bench) == []
        (promised,) = await bench.deliveries(fits)
        assert (promised.status, promised.attempt) == ("pending", 0)
        assert (await bench.stats(QueueName.DELIVERY)).ready == 1
        assert children
        assert all(is_gone(pid) for pid in children)
        assert [line for line in one.lines if line["level"] == "error"] == []
        await _others_go_on(bench)


async def _others_go_on(bench: WorkerBench) -> None:
    """What was handed back is claimable at once, under the next attempt."""
    claim = await bench.base.plan.queues.recognition.claim("another", 1000, 5)
    assert sorted(lease.member.attempt for lease in claim.leases) == [1, 2]


async def test_a_second_signal_hurries(sqlite_url: str, valkey: PrivateValkey, tmp_path: Path) -> None:
    changes = {"worker": {"drain_seconds": 300.0}, "recognise": {"children": 1}}
    async with (
        open_bench(sqlite_url, valkey, tmp_path, changes) as bench,
        worker_process(bench.settings) as one,
    ):
        task = await bench.submit(bench.pictures.serve("/never-ends.jpg", hang()))
        await bench.running(task)
        one.signal(signal.SIGTERM)
        await one.logged("worker.draining")
        begun = monotonic()
        one.signal(signal.SIGTERM)
        assert await one.ended() == 0
        assert monotonic() - begun < 5
        after = await bench.reload(task)
        assert (after.status, after.attempt, after.failures, after.crashes) == ("pending", 1, 0, 0)


async def test_a_worker_that_cannot_reach_the_database_waits_and_can_be_told_to_go(
    valkey: PrivateValkey, tmp_path: Path
) -> None:
    settings = worker_settings("mysql+asyncmy://nobody@127.0.0.1:1/none", valkey.url, tmp_path)
    async with unready_worker_process(settings) as one:
        await one.logged("worker.not_registered")
        one.signal(signal.SIGTERM)
        assert await one.ended() == 0


async def test_a_worker_that_is_told_to_go_while_it_starts_ends_in_order(
    sqlite_url: str, valkey: PrivateValkey, tmp_path: Path
) -> None:
    async with open_bench(sqlite_url, valkey, tmp_path, {"recognise": {"children": 1}}) as bench:
        waiting = await bench.submit(bench.pictures.url("/waits.jpg"))
        async with unready_worker_process(bench.settings) as one:
            # Its children are started before it begins.
            await until(lambda: _children(one), bool)
            one.signal(signal.SIGTERM)
            assert await one.ended() == 0
        assert (await bench.reload(waiting)).attempt == 0
        assert await worker_ids(bench) == []


async def _children(worker: WorkerProcess) -> list[int]:
    return worker.children


async def test_a_wrong_setting_is_told_in_one_line(valkey: PrivateValkey, tmp_path: Path) -> None:
    settings = worker_settings(f"sqlite+aiosqlite:///{tmp_path / 'm.db'}", valkey.url, tmp_path)
    async with unready_worker_process(settings, MUSTER_FETCH_PORTS="eighty") as one:
        assert await one.ended() == 2
        await one.said(1)
        assert one.text == "muster worker: MUSTER_FETCH_PORTS must be numbers separated by commas.\n"
