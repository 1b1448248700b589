"""Recognisers that hang, crash or talk nonsense, tasks that are cancelled: the worker goes on."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from time import monotonic
from typing import Any

import pytest
import pytest_asyncio

from core.domain.task import Task, TaskStatus
from core.store.changes import CancelKind
from tests.support.behaviours import reply
from tests.support.poison import HANGS_ALOUD, ODD, pids_told_by
from tests.support.valkey import PrivateValkey
from tests.support.worker_bench import (
    PICTURE,
    WorkerBench,
    gated,
    open_bench,
    running_worker,
    until,
)
from tests.support.worker_process import is_gone

pytestmark = pytest.mark.asyncio(loop_scope="module")

RECOGNISERS = (HANGS_ALOUD, ODD, "tests.support.recognisers:Segfault", "tests.support.recognisers:Raises")
STOP_SECONDS = 2.0


@asynccontextmanager
async def opened(url: str, valkey: PrivateValkey, folder: Path, **changes: Any) -> AsyncIterator[WorkerBench]:
    given = {
        "recognise": {"recognisers": RECOGNISERS, "timeout_seconds": 1.0, "children": 1},
        "queue": {"lease_seconds": 3.0},
    }
    async with AsyncExitStack() as stack:
        bench = await stack.enter_async_context(open_bench(url, valkey, folder, given | changes))
        await stack.enter_async_context(running_worker(bench.settings))
        yield bench


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def bench(
    valkey: PrivateValkey, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[WorkerBench]:
    """Run one worker with one child for the whole module."""
    folder = tmp_path_factory.mktemp("faults")
    async with opened(f"sqlite+aiosqlite:///{folder / 'muster.db'}", valkey, folder) as given:
        yield given


async def hanging(known: int) -> int:
    """Wait until another recogniser hangs than those known; gives its pid."""

    async def pids() -> list[int]:
        return pids_told_by(os.getpid())

    return (await until(pids, lambda found: len(found) > known))[-1]


async def gone(pid: int) -> None:
    async def state() -> bool:
        return is_gone(pid)

    await until(state, bool)


def code(task: Task) -> str | None:
    return task.error.code if task.error else None


async def test_a_recogniser_that_hangs_costs_its_picture_alone(bench: WorkerBench) -> None:
    url = bench.pictures.url("/hang.jpg")
    submitted = await bench.submit(url, url, models=("hangs-aloud", "picture"))
    pid = await hanging(0)
    waiting = await bench.reached(submitted, lambda task: task.failures == 1)
    await gone(pid)
    begun = monotonic()
    assert (await bench.ended(await bench.submit(url))).status is TaskStatus.COMPLETED
    assert monotonic() - begun < 1.0
    assert [picture.is_final for picture in waiting.recognitions] == [False, True]
    task = await bench.ended(submitted)
    assert (task.status, task.attempt) == ("completed", 3)
    assert task.recognitions[0].error is not None
    assert task.recognitions[0].error.code == "recogniser_timeout"


async def test_a_recogniser_that_crashes_fails_the_task_and_the_worker_lives(bench: WorkerBench) -> None:
    url = bench.pictures.url("/crash.jpg")
    submitted = await bench.submit(url, models=("segfault",))
    raising = await bench.submit(url, models=("raises",))
    for one in (submitted, raising):
        task = await bench.ended(one)
        assert (task.status, code(task)) == ("failed", "recogniser_crashed")
        assert (task.attempt, task.failures, task.crashes) == (3, 2, 0)
    assert (await bench.ended(await bench.submit(url))).status is TaskStatus.COMPLETED


async def test_a_recogniser_that_hangs_past_the_task_is_stopped_with_it(bench: WorkerBench) -> None:
    known = len(pids_told_by(os.getpid()))
    url = bench.pictures.url("/past.jpg")
    task = await bench.ended(await bench.submit(url, models=("hangs-aloud",), timeout_seconds=1))
    assert (task.status, code(task), task.attempt) == ("failed", "task_timeout", 1)
    await gone(await hanging(known))


async def test_a_running_task_is_cancelled_within_two_seconds_with_its_child(bench: WorkerBench) -> None:
    known = len(pids_told_by(os.getpid()))
    submitted = await bench.submit(bench.pictures.url("/cancel.jpg"), models=("hangs-aloud",))
    pid = await hanging(known)
    assert await bench.cancel(submitted) is CancelKind.RUNNING
    task = await bench.ended(submitted, limit_seconds=STOP_SECONDS)
    await gone(pid)
    assert (task.status, code(task), task.failures) == ("cancelled", "cancelled_by_caller", 0)
    assert [picture.error.code for picture in task.recognitions if picture.error] == ["cancelled_by_caller"]
    sent, _ = await bench.delivery_ended(task)
    assert sent.event == "task.cancelled"


async def test_a_cancellation_whose_event_is_lost_comes_with_the_heartbeat(bench: WorkerBench) -> None:
    gate = asyncio.Event()
    url = bench.pictures.serve("/lost-event.jpg", gated(gate, reply(200, PICTURE)))
    submitted = await bench.submit(url)
    await bench.running(submitted)
    await bench.cancel(submitted, quietly=True)
    assert (await bench.ended(submitted, limit_seconds=5)).status is TaskStatus.CANCELLED


async def test_an_attempt_that_was_done_before_it_was_cancelled_keeps_its_result(bench: WorkerBench) -> None:
    gate = asyncio.Event()
    url = bench.pictures.serve("/racing.jpg", gated(gate, reply(200, PICTURE)))
    submitted = await bench.submit(url)
    await bench.running(submitted)
    gate.set()
    await bench.cancel(submitted)
    task = await bench.ended(submitted)
    assert task.images_completed == (task.status is TaskStatus.COMPLETED)


async def test_a_waiting_task_that_is_cancelled_never_starts(bench: WorkerBench) -> None:
    queue = bench.base.plan.queues.recognition
    await queue.pause()
    submitted = await bench.submit(bench.pictures.url("/never.jpg"))
    assert await bench.cancel(submitted) is CancelKind.WAITING
    await queue.resume()
    beside = await bench.submit(bench.pictures.url("/beside.jpg"))
    await bench.ended(beside)
    task = await bench.reload(submitted)
    assert (task.status, task.attempt, bench.fetches("/never.jpg")) == ("cancelled", 0, 0)


@pytest.mark.postgresql
async def test_findings_that_cannot_be_stored_fail_their_task_and_not_the_worker(
    postgresql_url: str, tmp_path: Path
) -> None:
    with PrivateValkey() as own:
        async with opened(postgresql_url, own, tmp_path) as bench:
            url = bench.pictures.url("/odd.jpg")
            odd = await bench.submit(url, models=("odd",))
            mixed = await bench.submit(url, url, models=("picture", "odd"))
            assert (await bench.ended(await bench.submit(url))).status is TaskStatus.COMPLETED
            task = await bench.ended(odd)
            assert (task.status, code(task), task.attempt, task.failures) == (
                "failed",
                "attempts_exhausted",
                3,
                2,
            )
            task = await bench.ended(mixed)
            assert (task.status, task.images_completed, task.images_failed) == ("completed", 1, 1)
            assert (await bench.ended(await bench.submit(url))).status is TaskStatus.COMPLETED
