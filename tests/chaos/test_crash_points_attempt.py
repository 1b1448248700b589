"""Crash points 5, 7 to 9, 11, 12 and 17: a worker stops between two steps of an attempt."""

from __future__ import annotations

import signal
from pathlib import Path

from core.store.tasks import read_history
from tests.support.behaviours import reply
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
from tests.support.worker_bench import PICTURE, in_turn
from tests.support.worker_process import WorkerProcess

WORKER_LOST = Outcome(history=("0 submitted", "1 attempt started", "1 worker lost", *RAN_AGAIN), crashes=1)


async def _crash(sqlite_url: str, folder: Path, point: str, outcome: Outcome) -> WorkerProcess:
    """Let a worker die at a point and another take over; gives the other one's log."""
    async with crash_bench(sqlite_url, folder) as bench, standby_worker(bench.settings) as other:
        async with doomed_worker(bench.settings, point) as victim:
            task = await bench.submit()
            await died_at(victim, point)
        survivor = await other.take_over()
        await bench.converged(task, outcome)
        return survivor


async def test_5_a_worker_that_dies_before_the_start_costs_no_budget(sqlite_url: str, tmp_path: Path) -> None:
    survivor = await _crash(sqlite_url, tmp_path, "claim.answered", Outcome())

    reaped = await survivor.logged("leases.reaped")
    assert (reaped["queue"], reaped["expired"], reaped["settled"]) == ("recognition", 1, 1)


async def test_7_a_worker_killed_while_running_costs_a_crash_and_the_task_runs_alone(
    sqlite_url: str, tmp_path: Path
) -> None:
    survivor = await _crash(sqlite_url, tmp_path, "picture.recognised", WORKER_LOST)

    assert (await survivor.logged("task.taken_back"))["crashes"] == 1


async def test_8_a_worker_that_wakes_past_its_lease_may_write_nothing(
    sqlite_url: str, tmp_path: Path
) -> None:
    async with (
        crash_bench(sqlite_url, tmp_path) as bench,
        standby_worker(bench.settings) as other,
        doomed_worker(bench.settings, "picture.recognised=stop") as zombie,
    ):
        task = await bench.submit()
        await stopped_at(zombie, "picture.recognised")
        survivor = await other.take_over()
        after = await bench.converged(task, WORKER_LOST)
        assert (await survivor.logged("task.taken_back"))["crashes"] == 1

        zombie.signal(signal.SIGCONT)
        assert (await zombie.logged("attempt.ended"))["outcome"] == "lost"
        await zombie.logged("worker.declared_dead")
        assert await bench.converged(task, WORKER_LOST) == after


async def test_9_a_finish_that_was_not_committed_is_rolled_back(sqlite_url: str, tmp_path: Path) -> None:
    survivor = await _crash(sqlite_url, tmp_path, "record.written", WORKER_LOST)

    assert (await survivor.logged("task.taken_back"))["crashes"] == 1


async def test_11_a_lease_left_over_after_the_finish_is_acked(sqlite_url: str, tmp_path: Path) -> None:
    survivor = await _crash(sqlite_url, tmp_path, "record.committed", Outcome())

    assert (await survivor.logged("leases.reaped"))["settled"] == 1
    assert await repaired(survivor, "plan.swept") == 1


async def test_12_a_delivery_that_was_never_queued_is_found(sqlite_url: str, tmp_path: Path) -> None:
    survivor = await _crash(sqlite_url, tmp_path, "record.settled", Outcome())

    assert await repaired(survivor, "plan.swept") == 1


async def test_17_a_retry_that_was_not_settled_comes_with_the_rest_of_its_delay(
    sqlite_url: str, tmp_path: Path
) -> None:
    async with crash_bench(sqlite_url, tmp_path) as bench, standby_worker(bench.settings) as other:
        bench.bench.pictures.serve("/flaky.jpg", in_turn(reply(503), reply(200, PICTURE)))
        async with doomed_worker(bench.settings, "record.committed") as victim:
            task = await bench.submit("/flaky.jpg")
            await died_at(victim, "record.committed")
        put_back = await bench.task(task.id)
        survivor = await other.take_over()
        history = ("0 submitted", "1 attempt started", "1 transient error", *RAN_AGAIN)
        await bench.converged(task, Outcome(history=history, failures=1))
        assert await repaired(survivor, "plan.swept") == 1
        assert (await survivor.logged("leases.reaped"))["settled"] == 1
        started = (await read_history(bench.bench.base.db, task.id))[3]
        assert put_back.next_attempt_at is not None
        assert started.at >= put_back.next_attempt_at
