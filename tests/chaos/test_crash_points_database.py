"""Crash points 6, 10, 22, 23 and 25: the database's answer is lost, it crashes, or is out of reach."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import pytest

from core.domain.routing import QueueName
from core.domain.task import Task
from tests.support.availability import unavailable
from tests.support.behaviours import reply
from tests.support.crash_bench import (
    LEASE_SECONDS,
    RAN_AGAIN,
    CrashBench,
    Outcome,
    crash_bench,
    standby_worker,
)
from tests.support.programs import ProgramMissingError
from tests.support.relay import database_url_through, relay_to_database
from tests.support.servers import PrivateMariadb
from tests.support.worker_bench import PICTURE, gated, in_turn, until
from tests.support.worker_process import WorkerProcess, started_process, worker_process

pytestmark = pytest.mark.mariadb

START = b"(task.attempt + 1)"
SENDING = b"(delivery.attempt + 1)"
FINISH = b"'completed'"
COMMIT = b"COMMIT"


@pytest.fixture(scope="module")
def server() -> Iterator[PrivateMariadb]:
    """Serve MariaDB to this module, which kills it."""
    try:
        mariadb = PrivateMariadb()
    except ProgramMissingError as error:
        unavailable(str(error))
    with mariadb:
        yield mariadb


@pytest.fixture
async def bench(server: PrivateMariadb, tmp_path: Path) -> AsyncIterator[CrashBench]:
    """Give an installation on MariaDB."""
    url = await server.create_database()
    async with crash_bench(url, tmp_path) as opened:
        yield opened


async def _running(bench: CrashBench, gate: asyncio.Event) -> Task:
    """Submit a task whose first attempt runs until the gate is open."""
    answer = reply(200, PICTURE)
    bench.bench.pictures.serve("/gated.jpg", in_turn(gated(gate, answer), answer))
    task = await bench.bench.running(await bench.submit("/gated.jpg"))
    await bench.bench.pictures.wait_for_requests(1)
    return task


def _declared_dead(*workers: WorkerProcess) -> bool:
    return any(line["event"] == "worker.declared_dead" for worker in workers for line in worker.lines)


@pytest.mark.parametrize("start", [START, SENDING])
async def test_6_a_start_whose_commit_was_not_answered_goes_on_under_its_token(
    bench: CrashBench, start: bytes
) -> None:
    url = bench.settings.database.url
    async with (
        relay_to_database(url) as relay,
        worker_process(bench.settings, MUSTER_DATABASE_URL=database_url_through(relay, url)),
    ):
        relay.swallow_reply_to(start, COMMIT)
        task = await bench.submit()
        await bench.converged(task, Outcome())
        assert relay.swallowed.is_set()
        assert bench.bench.fetches("/a.jpg") == 1
        (sent,) = await bench.bench.deliveries(task)
        assert sent.attempt == 1


async def test_10_a_finish_whose_commit_was_not_answered_is_known_for_its_own(bench: CrashBench) -> None:
    url = bench.settings.database.url
    async with (
        relay_to_database(url) as relay,
        worker_process(bench.settings, MUSTER_DATABASE_URL=database_url_through(relay, url)) as worker,
    ):
        await bench.swept()
        relay.swallow_reply_to(FINISH, COMMIT)
        task = await bench.submit()
        await bench.converged(task, Outcome())
        assert relay.swallowed.is_set()
        await worker.logged("attempt.held")
        assert (await worker.logged("attempt.ended"))["outcome"] == "completed"
        assert bench.bench.fetches("/a.jpg") == 1


async def test_22_a_crash_of_the_database_kills_nobody_and_a_finished_result_is_held(
    bench: CrashBench, server: PrivateMariadb
) -> None:
    gate = asyncio.Event()
    async with standby_worker(bench.settings) as other, worker_process(bench.settings) as one:
        task = await _running(bench, gate)
        survivor = await other.take_over()
        server.kill()
        gate.set()
        await one.logged("attempt.held")
        await _a_lease_is_over(bench)
        server.start()
        await bench.converged(task, Outcome())
        assert (await one.logged("attempt.ended"))["outcome"] == "completed"
        assert not _declared_dead(one, survivor)


async def _a_lease_is_over(bench: CrashBench) -> None:
    """Wait for the time itself, by Redis's clock: the outage must outlast a lease."""
    begun_ms = (await bench.bench.stats(QueueName.RECOGNITION)).now_ms

    async def passed_ms() -> int:
        return (await bench.bench.stats(QueueName.RECOGNITION)).now_ms - begun_ms

    await until(passed_ms, lambda passed: passed > 1000 * LEASE_SECONDS + 1000)


async def test_23_a_worker_cut_from_the_database_is_declared_dead_and_may_write_nothing(
    bench: CrashBench,
) -> None:
    gate, url = asyncio.Event(), bench.settings.database.url
    async with (
        relay_to_database(url) as relay,
        standby_worker(bench.settings) as other,
        worker_process(bench.settings, MUSTER_DATABASE_URL=database_url_through(relay, url)) as cut_off,
    ):
        task = await _running(bench, gate)
        relay.cut()
        survivor = await other.take_over()
        history = ("0 submitted", "1 attempt started", "1 worker lost", *RAN_AGAIN)
        after = await bench.converged(task, Outcome(history=history, crashes=1))
        assert (await survivor.logged("task.taken_back"))["crashes"] == 1

        gate.set()
        await cut_off.logged("attempt.held")
        relay.heal()
        assert (await cut_off.logged("attempt.ended"))["outcome"] == "lost"
        await cut_off.logged("worker.declared_dead")
        assert await bench.converged(task, Outcome(history=history, crashes=1)) == after


async def test_25_a_workers_clock_that_jumps_changes_nothing(bench: CrashBench) -> None:
    gate = asyncio.Event()
    async with standby_worker(bench.settings) as other, _jumping_worker(bench) as jumping:
        task = await _running(bench, gate)
        survivor = await other.take_over()
        for number in (signal.SIGUSR1, signal.SIGUSR2):
            await _jump(jumping, number)
            await _a_lease_is_over(bench)
        gate.set()
        done = await bench.converged(task, Outcome())
        assert (await jumping.logged("attempt.ended"))["outcome"] == "completed"
        assert not _declared_dead(jumping, survivor)
        assert done.started_at is not None
        (picture,) = done.recognitions
        assert picture.completed_at is not None
        assert abs(picture.completed_at - done.started_at) < timedelta(minutes=1)


async def test_25_what_a_worker_of_tomorrow_leaves_behind_stands_in_order(bench: CrashBench) -> None:
    gate = asyncio.Event()
    async with standby_worker(bench.settings) as other:
        async with _jumping_worker(bench) as jumping:
            await _jump(jumping, signal.SIGUSR1)
            task = await _running(bench, gate)
            jumping.signal(signal.SIGKILL)
            await jumping.ended()
        await other.take_over()
        history = ("0 submitted", "1 attempt started", "1 worker lost", *RAN_AGAIN)
        await bench.converged(task, Outcome(history=history, crashes=1))


@asynccontextmanager
async def _jumping_worker(bench: CrashBench) -> AsyncIterator[WorkerProcess]:
    async with started_process(bench.settings, "tests.support.shifted_clock") as process:
        await process.logged("worker.started")
        yield process


async def _jump(worker: WorkerProcess, number: signal.Signals) -> None:
    """Set its clock forward, or back behind the true time."""
    before = len(worker.lines)
    worker.signal(number)
    shift_seconds = (await worker.logged("clock.jumped", after=before))["shift_seconds"]
    assert shift_seconds == (86_400 if number == signal.SIGUSR1 else -86_400)
