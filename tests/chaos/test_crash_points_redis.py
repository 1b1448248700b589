"""Crash points 4, 5, 19 to 21, 24: Redis answers nobody, forgets, goes back, is two, is out of reach."""

from __future__ import annotations

import asyncio
import shutil
import signal
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from core.domain.routing import QueueName
from core.domain.task import Task
from core.foundation import Foundation
from core.settings import RedisSettings
from tests.support.behaviours import reply
from tests.support.crash_bench import (
    CrashBench,
    Outcome,
    crash_bench,
    died_at,
    doomed_worker,
    repaired,
    standby_worker,
    stopped_at,
)
from tests.support.crash_web import web_process
from tests.support.relay import call_of, redis_url_through, relay_to_redis
from tests.support.valkey import PrivateValkey
from tests.support.worker_bench import PICTURE, gated
from tests.support.worker_process import WorkerProcess, worker_process

AOF = "appendonlydir"


async def test_4_an_enqueue_whose_reply_is_lost_leaves_one_entry(sqlite_url: str, tmp_path: Path) -> None:
    async with crash_bench(sqlite_url, tmp_path) as bench, relay_to_redis(bench.valkey.url) as relay:
        first = await bench.submit()
        async with web_process(bench.settings, MUSTER_REDIS_URL=redis_url_through(relay)) as web:
            relay.swallow_reply_to(call_of("enqueue", QueueName.RECOGNITION))
            answer = await web.submit(bench.body())
            assert relay.swallowed.is_set()
        assert (answer.status_code, answer.json()["queue"]["position"]) == (202, 2)
        stats = await bench.bench.stats(QueueName.RECOGNITION)
        assert (stats.ready, stats.counters["enqueued"]) == (2, 2)
        async with worker_process(bench.settings):
            await bench.converged(first, Outcome())
            await bench.converged(await bench.task(int(answer.json()["id"])), Outcome())


async def test_5_a_claim_whose_reply_is_lost_is_released_when_its_lease_is_over(
    sqlite_url: str, tmp_path: Path
) -> None:
    async with (
        crash_bench(sqlite_url, tmp_path) as bench,
        relay_to_redis(bench.valkey.url) as relay,
        worker_process(bench.settings, MUSTER_REDIS_URL=redis_url_through(relay)) as worker,
    ):
        await bench.swept()
        relay.swallow_reply_to(call_of("claim", QueueName.RECOGNITION))
        task = await bench.submit()
        await relay.swallowed.wait()
        assert (await bench.bench.stats(QueueName.RECOGNITION)).leased == 1
        await bench.converged(task, Outcome())
        assert (await worker.logged("leases.reaped"))["settled"] == 1


def _flush(valkey: PrivateValkey) -> None:
    valkey.flush()


def _restart_empty(valkey: PrivateValkey) -> None:
    valkey.kill()
    shutil.rmtree(valkey.data_dir / AOF)
    valkey.start()


@pytest.mark.parametrize("lose", [_flush, _restart_empty])
async def test_19_an_emptied_redis_is_filled_again_while_what_runs_goes_on(
    sqlite_url: str, tmp_path: Path, lose: Callable[[PrivateValkey], None]
) -> None:
    async with crash_bench(sqlite_url, tmp_path) as bench, worker_process(bench.settings) as worker:
        await bench.swept()
        gate = asyncio.Event()
        bench.bench.pictures.serve("/gated.jpg", gated(gate, reply(200, PICTURE)))
        running = [await _running(bench) for _ in range(2)]
        waiting = [await bench.submit() for _ in range(3)]
        before = len(worker.lines)
        lose(bench.valkey)
        assert (await worker.logged("plan.rebuilt", after=before, limit_seconds=3))["tasks"] == 3
        assert (await bench.bench.stats(QueueName.RECOGNITION)).ready == 3
        gate.set()
        for task in running + waiting:
            await bench.converged(task, Outcome())


async def _running(bench: CrashBench) -> Task:
    return await bench.bench.running(await bench.submit("/gated.jpg"))


async def test_19_a_rebuild_whose_worker_dies_in_the_middle_is_begun_again(
    sqlite_url: str, tmp_path: Path
) -> None:
    async with crash_bench(sqlite_url, tmp_path) as bench, standby_worker(bench.settings) as other:
        once = {"MUSTER_QUEUE_SCAN_SECONDS": "600"}  # so that the rebuild is the first to read a page
        async with doomed_worker(bench.settings, "page.read", **once) as victim:
            tasks = [await bench.bench.store(bench.bench.pictures.url("/a.jpg")) for _ in range(3)]
            bench.valkey.flush()
            await died_at(victim, "page.read")
        assert (await bench.bench.stats(QueueName.RECOGNITION)).epoch == ""
        survivor = await other.take_over()
        for task in tasks:
            await bench.converged(task, Outcome())
        await survivor.logged("plan.rebuilt")
        assert (await bench.bench.stats(QueueName.RECOGNITION)).epoch != ""


async def test_19_a_rebuild_during_which_redis_is_emptied_again_is_begun_again(
    sqlite_url: str, tmp_path: Path
) -> None:
    once = {"MUSTER_QUEUE_SCAN_SECONDS": "600"}
    async with (
        crash_bench(sqlite_url, tmp_path) as bench,
        doomed_worker(bench.settings, "page.read=stop", **once) as worker,
    ):
        before = len(worker.lines)
        task = await bench.bench.store(bench.bench.pictures.url("/a.jpg"))
        bench.valkey.flush()
        await stopped_at(worker, "page.read")
        bench.valkey.flush()
        worker.signal(signal.SIGCONT)
        await bench.converged(task, Outcome())
        assert (await worker.logged("plan.rebuilt", after=before))["tasks"] == 1


async def test_20_a_redis_that_was_rolled_back_has_ghosts_that_start_nothing_and_gaps_that_are_filled(
    sqlite_url: str, tmp_path: Path
) -> None:
    changes = {"worker": {"slots": 1, "drain_seconds": 1.0}}
    async with crash_bench(sqlite_url, tmp_path, changes) as bench:
        ghost = await bench.submit()
        shutil.copytree(bench.valkey.data_dir / AOF, tmp_path / AOF)
        async with worker_process(bench.settings) as worker:
            await bench.converged(ghost, Outcome())
            await bench.swept()
            gate = asyncio.Event()
            bench.bench.pictures.serve("/gated.jpg", gated(gate, reply(200, PICTURE)))
            running, missing = await _running(bench), await bench.submit()
            await _roll_back(bench, tmp_path / AOF, worker)
            stats = await bench.bench.stats(QueueName.RECOGNITION)
            assert (stats.ready, stats.leased) == (2, 0)
            gate.set()
            for task in (ghost, running, missing):
                await bench.converged(task, Outcome())
            assert bench.bench.fetches("/a.jpg") == 2


async def _roll_back(bench: CrashBench, older: Path, worker: WorkerProcess) -> None:
    """Put an older state in the place of Redis's, and wait until a worker has noticed."""
    before = len(worker.lines)
    bench.valkey.kill()
    shutil.rmtree(bench.valkey.data_dir / AOF)
    shutil.copytree(older, bench.valkey.data_dir / AOF)
    bench.valkey.start()
    assert (await worker.logged("plan.rebuilt", after=before))["tasks"] == 1


async def test_21_a_task_claimed_from_two_primaries_starts_once(sqlite_url: str, tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        bench = await stack.enter_async_context(crash_bench(sqlite_url, tmp_path))
        second = stack.enter_context(PrivateValkey())
        elsewhere = bench.settings.model_copy(update={"redis": RedisSettings(url=second.url)})
        base = await stack.enter_async_context(Foundation.open(elsewhere))
        slow = await stack.enter_async_context(doomed_worker(bench.settings, "claim.answered=stop"))
        task = await bench.submit()
        await stopped_at(slow, "claim.answered")
        await base.plan.enqueue_tasks([task])
        quick = await stack.enter_async_context(worker_process(elsewhere))
        assert (await quick.logged("attempt.ended"))["outcome"] == "completed"
        slow.signal(signal.SIGCONT)
        await bench.converged(task, Outcome())
        for stats in (
            await bench.bench.stats(QueueName.RECOGNITION),
            await base.inspector(QueueName.RECOGNITION).stats(),
        ):
            assert (stats.counters["claimed"], stats.counters["acked"]) == (1, 1)
        assert not any(line["event"] == "attempt.ended" for line in slow.lines)


async def test_24_a_worker_cut_from_redis_finishes_what_it_runs_for_its_row_is_alive(
    sqlite_url: str, tmp_path: Path
) -> None:
    async with (
        crash_bench(sqlite_url, tmp_path) as bench,
        relay_to_redis(bench.valkey.url) as relay,
        standby_worker(bench.settings) as other,
        worker_process(bench.settings, MUSTER_REDIS_URL=redis_url_through(relay)) as one,
    ):
        gate = asyncio.Event()
        bench.bench.pictures.serve("/gated.jpg", gated(gate, reply(200, PICTURE)))
        task = await _running(bench)
        relay.cut()
        survivor = await other.take_over()
        reaped = await survivor.logged("leases.reaped")
        assert (reaped["expired"], reaped["settled"]) == (1, 0)
        gate.set()
        await bench.converged(task, Outcome())
        assert (await one.logged("attempt.ended"))["outcome"] == "completed"
        assert await repaired(survivor, "plan.scanned") == 1
        assert not any(line["event"] == "worker.declared_dead" for line in survivor.lines)
