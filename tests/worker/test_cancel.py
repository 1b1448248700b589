"""The intent to cancel is in the database: it holds though the worker was away, or never comes back."""

from __future__ import annotations

import signal
from pathlib import Path
from time import monotonic
from typing import Any

import pytest

from core.domain.task import Task
from core.store.changes import CancelKind
from core.store.tasks import read_history
from tests.support.behaviours import hang
from tests.support.poison import HANGS_ALOUD, pids_told_by
from tests.support.valkey import PrivateValkey
from tests.support.worker_bench import WorkerBench, open_bench, running_worker, until, worker_ids
from tests.support.worker_process import WorkerProcess, is_gone, worker_process

LEASE_SECONDS = 3.0
STOP_SECONDS = 2.0
CHANGES: dict[str, Any] = {
    "queue": {"lease_seconds": LEASE_SECONDS},
    "recognise": {"children": 1, "recognisers": (HANGS_ALOUD,)},
}


async def _hanging(bench: WorkerBench, worker: WorkerProcess) -> tuple[Task, int]:
    """Have a worker recognise what never ends; gives the task and the child's pid."""
    task = await bench.submit(bench.pictures.url("/hangs.jpg"), models=("hangs-aloud",))

    async def pids() -> list[int]:
        return pids_told_by(worker.pid)

    return task, (await until(pids, bool))[0]


async def _gone(pid: int) -> None:
    async def state() -> bool:
        return is_gone(pid)

    await until(state, bool, limit_seconds=STOP_SECONDS)


@pytest.mark.parametrize("quietly", [False, True])
async def test_a_worker_that_stood_still_when_its_task_was_cancelled_stops_it_when_it_goes_on(
    sqlite_url: str, valkey: PrivateValkey, tmp_path: Path, quietly: bool
) -> None:
    async with (
        open_bench(sqlite_url, valkey, tmp_path, CHANGES) as bench,
        worker_process(bench.settings) as worker,
    ):
        submitted, pid = await _hanging(bench, worker)
        worker.signal(signal.SIGSTOP)
        assert await bench.cancel(submitted, quietly=quietly) is CancelKind.RUNNING
        worker.signal(signal.SIGCONT)
        task = await bench.ended(submitted, limit_seconds=STOP_SECONDS)
        await _gone(pid)
        assert (task.status, task.attempt, task.failures, task.crashes) == ("cancelled", 1, 0, 0)
        # The child's place was filled again: the worker goes on.
        beside = await bench.ended(await bench.submit(bench.pictures.url("/beside.jpg")))
        assert beside.status == "completed"


async def test_a_task_whose_worker_is_killed_after_its_cancellation_ends_cancelled_and_not_elsewhere(
    sqlite_url: str, valkey: PrivateValkey, tmp_path: Path
) -> None:
    async with (
        open_bench(sqlite_url, valkey, tmp_path, CHANGES) as bench,
        worker_process(bench.settings) as worker,
    ):
        url = bench.pictures.serve("/never-ends.jpg", hang())
        submitted = await bench.submit(url)
        await bench.running(submitted)
        await bench.pictures.wait_for_requests(1)
        worker.signal(signal.SIGSTOP)
        assert await bench.cancel(submitted) is CancelKind.RUNNING
        worker.signal(signal.SIGKILL)
        async with running_worker(bench.settings):
            await until(lambda: worker_ids(bench), lambda ids: len(ids) == 2)
            begun = monotonic()
            task = await bench.ended(submitted)
            assert monotonic() - begun < 3 * LEASE_SECONDS
            assert (task.status, task.attempt, task.crashes) == ("cancelled", 1, 1)
            assert task.error is not None
            assert task.error.code == "cancelled_by_caller"
            sent, _ = await bench.delivery_ended(task)
        assert sent.event == "task.cancelled"
        assert bench.fetches("/never-ends.jpg") == 1
        whys = [line.why for line in await read_history(bench.base.db, task.id)]
        assert whys[-2] == "cancel requested"


async def test_a_row_that_would_be_put_back_is_ended_when_its_caller_cancelled_it(
    sqlite_url: str, valkey: PrivateValkey, tmp_path: Path
) -> None:
    async with (
        open_bench(sqlite_url, valkey, tmp_path, CHANGES) as bench,
        worker_process(bench.settings) as worker,
    ):
        submitted, pid = await _hanging(bench, worker)
        worker.signal(signal.SIGSTOP)
        await bench.cancel(submitted, quietly=True)
        # It is drained before its heartbeat has told it of the cancellation.
        for number in (signal.SIGTERM, signal.SIGTERM, signal.SIGCONT):
            worker.signal(number)
        assert await worker.ended() == 0
        await _gone(pid)
        task = await bench.reload(submitted)
        assert (task.status, task.attempt) == ("cancelled", 1)
