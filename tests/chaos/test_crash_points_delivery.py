"""Crash points 13 and 14: a callback was sent and nobody wrote down what came of it."""

from __future__ import annotations

import signal
from pathlib import Path

from tests.support.behaviours import hang, reset
from tests.support.crash_bench import Outcome, crash_bench, died_at, doomed_worker, standby_worker
from tests.support.worker_process import worker_process

SENT_AGAIN = Outcome(posts=2, delivery_crashes=1)


async def test_13_a_callback_whose_worker_is_killed_before_the_answer_is_sent_again_under_its_id(
    sqlite_url: str, tmp_path: Path
) -> None:
    async with crash_bench(sqlite_url, tmp_path) as bench, standby_worker(bench.settings) as other:
        bench.bench.receiver.replies.append(hang())
        async with worker_process(bench.settings) as victim:
            task = await bench.submit()
            await bench.bench.receiver.wait_for(1)
            victim.signal(signal.SIGKILL)
            await victim.ended()
        (sent,) = await bench.bench.deliveries(task)
        assert (sent.status, sent.attempt, sent.tries) == ("sending", 1, 0)
        survivor = await other.take_over()
        await bench.converged(task, SENT_AGAIN)
        await survivor.logged("worker.declared_dead")


async def test_13_a_callback_whose_answer_is_lost_is_tried_again_under_its_id(
    sqlite_url: str, tmp_path: Path
) -> None:
    async with crash_bench(sqlite_url, tmp_path) as bench, worker_process(bench.settings) as worker:
        bench.bench.receiver.replies.append(reset())
        task = await bench.submit()
        await bench.converged(task, Outcome(posts=2))
        assert (await worker.logged("delivery.attempted"))["outcome"] == "pending"


async def test_14_a_callback_that_arrived_but_was_not_recorded_is_a_recognisable_duplicate(
    sqlite_url: str, tmp_path: Path
) -> None:
    async with crash_bench(sqlite_url, tmp_path) as bench, standby_worker(bench.settings) as other:
        async with doomed_worker(bench.settings, "try.written") as victim:
            task = await bench.submit()
            await died_at(victim, "try.written")
        assert len(bench.bench.receiver.received) == 1
        survivor = await other.take_over()
        await bench.converged(task, SENT_AGAIN)
        await survivor.logged("worker.declared_dead")
