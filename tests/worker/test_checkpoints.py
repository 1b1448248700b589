"""Two clocks that do not mix, and pictures that are done once, however often their task is begun."""

from __future__ import annotations

import asyncio
import signal
from datetime import timedelta
from pathlib import Path
from typing import Any

from core.domain.recognition import RecognitionStatus
from core.domain.task import TaskStatus
from core.store.changes import retry_task
from core.store.workers import Worker, list_workers
from tests.support.behaviours import hang, reply
from tests.support.poison import COUNTS_ALOUD, told_by
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
from tests.support.worker_process import WorkerProcess, worker_process

LEASE_SECONDS = 1.5
RECOGNISE: dict[str, Any] = {"children": 1, "recognisers": (COUNTS_ALOUD,)}
AT_ONCE = ("Retry-After", "0")


def _recognised_by(worker: WorkerProcess) -> int:
    told = told_by(worker.pid)
    return len(told.read_text().splitlines()) if told.exists() else 0


def _has_beaten_for_three_leases(workers: list[Worker]) -> bool:
    (worker,) = workers
    assert worker.last_seen_at is not None
    assert worker.started_at is not None
    return worker.last_seen_at - worker.started_at > timedelta(seconds=3 * LEASE_SECONDS)


async def test_a_task_may_take_far_longer_than_a_lease(
    sqlite_url: str, valkey: PrivateValkey, tmp_path: Path
) -> None:
    changes = {"queue": {"lease_seconds": LEASE_SECONDS}, "recognise": {"children": 1}}
    async with open_bench(sqlite_url, valkey, tmp_path, changes) as bench, running_worker(bench.settings):
        gate = asyncio.Event()
        slow = bench.pictures.serve("/slow.jpg", gated(gate, reply(200, PICTURE)))
        task = await bench.submit(slow, timeout_seconds=60)
        await bench.running(task)
        await until(lambda: list_workers(bench.base.db), _has_beaten_for_three_leases)
        gate.set()
        after = await bench.ended(task)
        assert (after.status, after.attempt, after.crashes) == (TaskStatus.COMPLETED, 1, 0)


async def test_a_task_out_of_its_own_time_ends_though_its_lease_is_long(
    sqlite_url: str, valkey: PrivateValkey, tmp_path: Path
) -> None:
    changes = {"queue": {"lease_seconds": 60.0}, "recognise": {"children": 1}}
    async with open_bench(sqlite_url, valkey, tmp_path, changes) as bench, running_worker(bench.settings):
        task = await bench.submit(bench.pictures.serve("/hangs.jpg", hang()), timeout_seconds=1)
        after = await bench.ended(task, limit_seconds=5)
        assert after.error is not None
        assert (after.status, after.error.code) == (TaskStatus.FAILED, "task_timeout")


async def test_what_was_recognised_is_done_once_over_retry_drain_death_and_a_new_series(
    sqlite_url: str, valkey: PrivateValkey, tmp_path: Path
) -> None:
    changes = {
        "queue": {"lease_seconds": LEASE_SECONDS},
        "recognise": RECOGNISE,
        "worker": {"drain_seconds": 0.1},
    }
    async with open_bench(sqlite_url, valkey, tmp_path, changes) as bench:
        behaviours = (reply(503, b"", AT_ONCE), hang(), hang(), reply(404))
        urls = [bench.pictures.url("/first.jpg"), bench.pictures.serve("/last.jpg", in_turn(*behaviours))]
        task = await bench.submit(*urls, models=("counts-aloud", "counts-aloud"))
        # Fails once, is then drained away from the first worker and lost with the second.
        async with worker_process(bench.settings) as one:
            await _fetched(bench, 2)
            one.signal(signal.SIGTERM)
            assert await one.ended() == 0
            assert _recognised_by(one) == 1
        async with worker_process(bench.settings) as two:
            await _fetched(bench, 3)
            two.signal(signal.SIGKILL)
            await two.ended()
            assert _recognised_by(two) == 0
        async with worker_process(bench.settings) as three:
            await until(lambda: worker_ids(bench), bool)
            after = await bench.ended(task)
            assert (after.status, after.attempt, after.failures, after.crashes) == ("completed", 4, 1, 1)
            await _retried_in_full(bench)
            assert _recognised_by(three) == 2
        assert (bench.fetches("/first.jpg"), bench.fetches("/last.jpg")) == (1, 4)


async def _retried_in_full(bench: WorkerBench) -> None:
    """A new series begins only what is not recognised yet."""
    gate = asyncio.Event()
    urls = [bench.pictures.url("/kept.jpg"), bench.pictures.serve("/open.jpg", gated(gate, hang()))]
    task = await bench.submit(*urls, models=("counts-aloud", "counts-aloud"))
    await bench.reached(task, lambda found: found.images_completed == 1)
    await bench.cancel(task)
    before = await bench.ended(task)
    assert [picture.status for picture in before.recognitions] == ["completed", "failed"]
    bench.pictures.serve("/open.jpg", reply(200, PICTURE))
    again = await retry_task(bench.base.db, bench.base.ids, task.id)
    assert [picture.status for picture in again.recognitions] == ["completed", "pending"]
    await bench.base.plan.enqueue_tasks([again])
    after = await bench.ended(task)
    assert [picture.status for picture in after.recognitions] == [RecognitionStatus.COMPLETED] * 2
    assert after.recognitions[0] == before.recognitions[0]
    assert (bench.fetches("/kept.jpg"), bench.fetches("/open.jpg")) == (1, 2)


async def _fetched(bench: WorkerBench, times: int) -> None:
    async def count() -> int:
        return bench.fetches("/last.jpg")

    await until(count, lambda found: found == times)
