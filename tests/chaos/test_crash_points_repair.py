"""Crash points 15, 16 and 26: those who repair die themselves, or do it twice."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

from core.domain.routing import QueueName
from tests.support.crash_bench import (
    RAN_AGAIN,
    Outcome,
    crash_bench,
    died_at,
    doomed_worker,
    repaired,
    standby_worker,
    stopped_at,
)

MANY = 60


async def test_15_what_a_dead_reaper_held_is_reaped_again(sqlite_url: str, tmp_path: Path) -> None:
    async with crash_bench(sqlite_url, tmp_path) as bench, standby_worker(bench.settings) as other:
        task = await bench.submit()
        # What a worker leaves that dies of its claim: a lease that is over, and a row that never started.
        await bench.bench.base.plan.queues.recognition.claim("a-dead-worker.1", 1, 1)
        async with doomed_worker(bench.settings, "leases.reaped") as reaper:
            await died_at(reaper, "leases.reaped")
        survivor = await other.take_over()
        await bench.converged(task, Outcome())
        assert (await survivor.logged("leases.reaped"))["settled"] == 1
        assert (await bench.bench.stats(QueueName.RECOGNITION)).counters["reaped"] == 2


async def test_16_a_row_taken_back_by_a_reaper_that_died_before_redis_is_queued_by_whoever_looks_first(
    sqlite_url: str, tmp_path: Path
) -> None:
    async with crash_bench(sqlite_url, tmp_path) as bench, standby_worker(bench.settings) as other:
        async with doomed_worker(bench.settings, "picture.recognised") as victim:
            task = await bench.submit()
            await died_at(victim, "picture.recognised")
        async with doomed_worker(bench.settings, "tasks.taken_back") as reaper:
            await died_at(reaper, "tasks.taken_back")
        row = await bench.task(task.id)
        assert (row.status, row.attempt, row.crashes) == ("pending", 1, 1)
        assert (await bench.bench.stats(QueueName.SOLO)).waiting == 0
        survivor = await other.take_over()
        history = ("0 submitted", "1 attempt started", "1 worker lost", *RAN_AGAIN)
        await bench.converged(task, Outcome(history=history, crashes=1))
        told = {line["event"]: line for line in survivor.lines}
        # A reaper meets the old lease, a sweep the missing entry; either is enough.
        assert "missing" in told.get("plan.swept", {}) or told["leases.reaped"]["settled"] == 1
        assert "task.taken_back" not in told


async def test_26_a_reconciler_that_wakes_with_an_old_page_adds_an_entry_that_starts_nothing(
    sqlite_url: str, tmp_path: Path
) -> None:
    async with (
        crash_bench(sqlite_url, tmp_path) as bench,
        standby_worker(bench.settings) as other,
        doomed_worker(bench.settings, "page.read=stop") as slow,
    ):
        task = await bench.bench.store(bench.bench.pictures.url("/a.jpg"))
        await stopped_at(slow, "page.read")
        survivor = await other.take_over()
        after = await bench.converged(task, Outcome())
        assert await repaired(survivor, "plan.swept") == 1

        slow.signal(signal.SIGCONT)
        await repaired(slow, "plan.swept")
        assert await bench.converged(task, Outcome()) == after
        counters = (await bench.bench.stats(QueueName.RECOGNITION)).counters
        assert (counters["enqueued"], counters["acked"]) == (2, 2)


async def test_26_two_reconcilers_at_once_queue_each_task_once(sqlite_url: str, tmp_path: Path) -> None:
    async with (
        crash_bench(sqlite_url, tmp_path) as bench,
        standby_worker(bench.settings) as one,
        standby_worker(bench.settings) as other,
    ):
        urls = [bench.bench.pictures.url(f"/{number}.jpg") for number in range(MANY)]
        tasks = [await bench.bench.store(url) for url in urls]
        await asyncio.gather(one.take_over(), other.take_over())
        for task in tasks:
            await bench.converged(task, Outcome())
        assert (await bench.bench.stats(QueueName.RECOGNITION)).counters["enqueued"] == MANY
        assert len(bench.bench.pictures.requests) == MANY
