"""Processes that die between two writes, one that comes after them, and what all must come to."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from core.domain.routing import QueueName
from core.domain.task import Task
from core.settings import Settings
from core.store.tasks import TaskFilter, get_task, list_tasks, read_history
from core.store.upkeep import read_scan_mark
from tests.support.valkey import PrivateValkey
from tests.support.worker_bench import SYSTEM, WorkerBench, open_bench, until
from tests.support.worker_process import WorkerProcess, state_of, unready_worker_process

LEASE_SECONDS = 3.0
TWO_LEASES_SECONDS = 2 * LEASE_SECONDS
_CHANGES: dict[str, Any] = {
    "queue": {"lease_seconds": LEASE_SECONDS, "scan_seconds": 0.5},
    "worker": {"slots": 2, "drain_seconds": 1.0},
    "recognise": {"children": 1},
    "delivery": {"schedule_seconds": (0.2,) * 8},
}
RAN_ONCE = ("0 submitted", "1 attempt started", "1 attempt ended")
RAN_AGAIN = ("2 attempt started", "2 attempt ended")


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a task must come to within two leases of the last death, or of the first worker's return."""

    history: Sequence[str] = RAN_ONCE
    """The attempt and the reason of every change."""
    status: str = "completed"
    crashes: int = 0
    failures: int = 0
    posts: int = 1
    """How often the callback's receiver heard of the end, always under the same id."""
    delivery_crashes: int = 0
    """How often a lost worker's delivery was taken back."""

    @property
    def attempt(self) -> int:
        """The attempt that ended the task."""
        return int(self.history[-1].partition(" ")[0])


@dataclass(frozen=True, slots=True, kw_only=True)
class CrashBench:
    """An installation with a Redis of its own and no process yet."""

    bench: WorkerBench
    valkey: PrivateValkey

    @property
    def settings(self) -> Settings:
        """What its processes are started with."""
        return self.bench.settings

    def body(self, path: str = "/a.jpg") -> dict[str, Any]:
        """Give a submission with one picture, as a caller writes it."""
        return {
            "business_id": "b-1",
            "system_code": SYSTEM,
            "prompt": "ALL",
            "callback_url": self.bench.receiver.url("/hook"),
            "cameras": [{"camera_id": "gate", "image_url": self.bench.pictures.url(path)}],
        }

    async def submit(self, path: str = "/a.jpg", **changes: Any) -> Task:
        """Store and queue a task with one picture, as a web process does."""
        return await self.bench.submit(self.bench.pictures.url(path), **changes)

    async def task(self, task_id: int) -> Task:
        """Read a task."""
        found = await get_task(self.bench.base.db, task_id)
        assert found is not None
        return found

    async def only_task(self) -> Task:
        """Read the one task that there is."""
        tasks = await self.tasks()
        assert len(tasks) == 1
        return tasks[0]

    async def tasks(self) -> list[Task]:
        """Read all tasks, newest first."""
        return await list_tasks(self.bench.base.db, TaskFilter(), page_size=500)

    async def swept(self) -> None:
        """Wait until a worker has done its first sweep and a scan after it: from now on only scans repair."""
        await until(
            partial(read_scan_mark, self.bench.base.db, QueueName.RECOGNITION), lambda at: at is not None
        )

    async def converged(self, task: Task, outcome: Outcome) -> Task:
        """Wait for the end, its callback and an empty queue, two leases at most; then compare everything."""
        async with asyncio.timeout(TWO_LEASES_SECONDS):
            after = await self.bench.ended(task)
            sent, _ = await self.bench.delivery_ended(task)
            await self.nothing_left()
        history = await read_history(self.bench.base.db, task.id)
        assert tuple(f"{line.attempt} {line.why}" for line in history) == tuple(outcome.history)
        counters = (after.status, after.attempt, after.crashes, after.failures)
        assert counters == (outcome.status, outcome.attempt, outcome.crashes, outcome.failures)
        received = [
            each for each in self.bench.receiver.received if each.payload["data"]["id"] == str(task.id)
        ]
        assert {each.webhook_id for each in received} == {str(sent.id)}
        assert {each.body for each in received} == {sent.body}
        assert [each.type for each in received] == [f"task.{outcome.status}"] * outcome.posts
        assert all(each.is_verified for each in received)
        assert (sent.status, sent.crashes) == ("delivered", outcome.delivery_crashes)
        return after

    async def nothing_left(self) -> None:
        """Wait until no queue holds anything."""
        for name in QueueName:
            await until(partial(self.bench.stats, name), lambda found: found.waiting + found.leased == 0)


@asynccontextmanager
async def crash_bench(
    database_url: str, folder: Path, changes: Mapping[str, Any] | None = None
) -> AsyncIterator[CrashBench]:
    """Open an installation whose leases are short."""
    with PrivateValkey(durable=True) as valkey:
        merged = {**_CHANGES, **(changes or {})}
        async with open_bench(database_url, valkey, folder, merged) as bench:
            # A plan that is whole: else the first worker's rebuild would repair what is another's to repair.
            await bench.base.plan.rebuild()
            yield CrashBench(bench=bench, valkey=valkey)


async def died_at(process: WorkerProcess, point: str) -> None:
    """Wait until a process has killed itself at a point."""
    assert await process.ended() == -signal.SIGKILL
    assert (await process.logged("testpoint.reached"))["point"] == point


async def repaired(process: WorkerProcess, event: str) -> int:
    """Wait until a worker says that a scan or a sweep queued what was missing; gives how many entries.

    A stale lease that is seen beside it counts as a ghost, and may be gone before it is looked at.
    """

    async def missing() -> list[int]:
        return [line["missing"] for line in process.lines if line.get("event") == event and "missing" in line]

    return (await until(missing, bool))[0]


async def stopped_at(process: WorkerProcess, point: str) -> None:
    """Wait until a process has frozen itself at a point."""
    assert (await process.logged("testpoint.reached"))["point"] == point

    async def state() -> str:
        return state_of(process.pid)

    await until(state, lambda found: found == "T")


class Standby:
    """A worker that has opened everything and waits, frozen, to be let in."""

    def __init__(self, process: WorkerProcess) -> None:
        self.process = process

    async def take_over(self) -> WorkerProcess:
        """Let it register and work; from here on it is the only worker."""
        await stopped_at(self.process, "worker.opened")
        self.process.signal(signal.SIGCONT)
        await self.process.logged("worker.started")
        return self.process


@asynccontextmanager
async def standby_worker(settings: Settings, **environment: str) -> AsyncIterator[Standby]:
    """Start a worker beside the one that will die, so that its start costs no time later."""
    environment = {"MUSTER_TEST_POINT": "worker.opened=stop", **environment}
    async with unready_worker_process(settings, **environment) as process:
        yield Standby(process)


@asynccontextmanager
async def doomed_worker(settings: Settings, point: str, **environment: str) -> AsyncIterator[WorkerProcess]:
    """Start a worker that will stop at a point; given with =stop it freezes there."""
    async with unready_worker_process(settings, MUSTER_TEST_POINT=point, **environment) as process:
        await process.logged("worker.started")
        yield process
