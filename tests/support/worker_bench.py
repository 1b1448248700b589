"""A whole worker to test with: real database, real Valkey, real children, pictures on loopback."""

from __future__ import annotations

import asyncio
import base64
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, time
from pathlib import Path
from typing import Any, TypeVar

from core.domain.delivery import DEFAULT_EVENTS, Delivery
from core.domain.recognition import Recognition
from core.domain.routing import QueueName, Shift
from core.domain.task import Task, TaskStatus
from core.foundation import Foundation
from core.queue.events import Event, EventKind
from core.queue.lease import QueueStats
from core.settings import Settings, load_settings
from core.store import migrate
from core.store.changes import CancelKind, cancel_task
from core.store.delivery_log import DeliveryFilter, LoggedTry, get_delivery, list_deliveries
from core.store.submissions import Submissions
from core.store.tasks import get_task
from core.store.workers import list_workers
from tests.support.behaviours import Behaviour, SeenRequest, Wire, jpeg, reply
from tests.support.http_servers import CallbackReceiver, ImageServer
from tests.support.poison import told_by
from tests.support.valkey import PrivateValkey
from worker.factory import open_worker
from worker.runner import Runner

T = TypeVar("T")
SECRET = "whsec_" + base64.b64encode(b"s" * 32).decode()
SYSTEM = "ranch"
PICTURE = jpeg()
PATIENCE_SECONDS = 20.0
_LOOK_AGAIN_SECONDS = 0.02
_ALWAYS = Shift(name="always", start=time(0), end=time(23, 59, 59), model="picture")


async def until(
    read: Callable[[], Awaitable[T]],
    accept: Callable[[T], object],
    *,
    limit_seconds: float = PATIENCE_SECONDS,
) -> T:
    """Read again and again until what was read is accepted; on a time-out say what was read last."""
    begun = asyncio.get_running_loop().time()
    while not accept(found := await read()):
        if asyncio.get_running_loop().time() - begun > limit_seconds:
            raise TimeoutError(f"after {limit_seconds} s: {found!r}")
        await asyncio.sleep(_LOOK_AGAIN_SECONDS)
    return found


def gated(gate: asyncio.Event, then: Behaviour) -> Behaviour:
    """Answer so once the gate is open."""

    async def behave(request: SeenRequest, wire: Wire) -> None:
        await gate.wait()
        await then(request, wire)

    return behave


def in_turn(*behaviours: Behaviour) -> Behaviour:
    """Answer by each in turn, the last one for ever."""
    left = list(behaviours)

    async def behave(request: SeenRequest, wire: Wire) -> None:
        await (left.pop(0) if len(left) > 1 else left[0])(request, wire)

    return behave


def worker_settings(
    database_url: str, redis_url: str, folder: Path, changes: Mapping[str, Any] | None = None
) -> Settings:
    """Give the settings of a small embedded installation, with changes by group."""
    given: dict[str, Any] = {
        "embedded": True,
        "auth": "off",
        "secret_key": "k" * 32,
        "embedded_webhook_secret": SECRET,
        "public_url": "http://127.0.0.1:8000",
        "routing": (_ALWAYS,),
        "database": {"url": database_url},
        "redis": {"url": redis_url},
        "media": {"dir": folder / "media"},
        "worker": {"slots": 4},
        "recognise": {"children": 2},
    }
    for name, value in (changes or {}).items():
        given[name] = {**given.get(name, {}), **value} if isinstance(value, Mapping) else value
    return load_settings(**given)


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerBench:
    """An installation without a worker: what a caller, an operator and a camera have of it."""

    settings: Settings
    base: Foundation
    submissions: Submissions
    pictures: ImageServer
    receiver: CallbackReceiver

    async def new(self, *urls: str, models: Sequence[str] = (), **changes: Any) -> Task:
        """Give a task with these pictures that is not stored yet."""
        await self.base.systems.ensure(changes.get("system_code", SYSTEM))
        task_id, *picture_ids = await self.base.ids.take(1 + len(urls))
        recognitions = tuple(
            Recognition(
                id=picture_id,
                task_id=task_id,
                position=place,
                camera_id=f"camera-{place}",
                image_url=url,
                model=models[place] if models else "picture",
                capture_time=datetime.now(UTC),
            )
            for place, (picture_id, url) in enumerate(zip(picture_ids, urls, strict=True))
        )
        fields: dict[str, Any] = {
            "system_code": SYSTEM,
            "business_id": "b-1",
            "prompt": "ALL",
            "cost": len(urls),
            "callback_url": self.receiver.url("/hook?key=geheim"),
            "callback_events": DEFAULT_EVENTS,
            "request_sha256": "0" * 64,
        }
        return Task(id=task_id, recognitions=recognitions, **(fields | changes))

    async def store(self, *urls: str, models: Sequence[str] = (), **changes: Any) -> Task:
        """Store a task without queueing it, as when Redis is away."""
        return (await self.submissions.submit(await self.new(*urls, models=models, **changes))).task

    async def submit(self, *urls: str, models: Sequence[str] = (), **changes: Any) -> Task:
        """Store a task and queue it."""
        stored = await self.store(*urls, models=models, **changes)
        await self.base.plan.enqueue_tasks([stored])
        return stored

    async def reload(self, of_task: Task) -> Task:
        """Read a task as it is now."""
        found = await get_task(self.base.db, of_task.id)
        assert found is not None
        return found

    async def reached(
        self, of_task: Task, accept: Callable[[Task], object], *, limit_seconds: float = PATIENCE_SECONDS
    ) -> Task:
        """Wait until the task is as wished."""
        return await until(lambda: self.reload(of_task), accept, limit_seconds=limit_seconds)

    async def ended(self, of_task: Task, *, limit_seconds: float = PATIENCE_SECONDS) -> Task:
        """Wait for a task's end."""
        return await self.reached(of_task, lambda task: task.is_final, limit_seconds=limit_seconds)

    async def running_or_ended(self, of_task: Task) -> Task:
        """Wait until an attempt of a task has begun, perhaps even ended."""
        return await self.reached(of_task, lambda task: task.attempt > 0)

    async def running(self, of_task: Task) -> Task:
        """Wait until an attempt of a task has begun."""
        return await self.reached(of_task, lambda task: task.status is TaskStatus.IN_PROGRESS)

    async def cancel(self, of_task: Task, *, quietly: bool = False) -> CancelKind:
        """Cancel a task as the API does; quietly = the event is lost."""
        met = await cancel_task(self.base.db, self.base.ids, self.base.promises, of_task.id)
        if not quietly:
            event = Event(kind=EventKind.CANCEL, id=of_task.id, attempt=met.task.attempt)
            await self.base.events.publish(event)
        return met.kind

    async def deliveries(self, of_task: Task) -> list[Delivery]:
        """Read a task's deliveries, newest first."""
        return await list_deliveries(self.base.db, DeliveryFilter(task_id=of_task.id), page_size=500)

    async def delivery_ended(
        self, of_task: Task, *, limit_seconds: float = PATIENCE_SECONDS
    ) -> tuple[Delivery, list[LoggedTry]]:
        """Wait until the one delivery of a task is final; give it with its tries."""
        found = await until(
            lambda: self.deliveries(of_task),
            lambda sent: len(sent) == 1 and sent[0].status.is_final,
            limit_seconds=limit_seconds,
        )
        return await get_delivery(self.base.db, found[0].id)

    async def stats(self, queue: QueueName) -> QueueStats:
        """Read how deep a queue is."""
        return await self.base.inspector(queue).stats()

    def fetches(self, path: str) -> int:
        """Count how often a picture was asked for."""
        return sum(request.path == path for request in self.pictures.requests)


@asynccontextmanager
async def open_bench(
    database_url: str, valkey: PrivateValkey, folder: Path, changes: Mapping[str, Any] | None = None
) -> AsyncIterator[WorkerBench]:
    """Migrate a database and open everything but a worker; Valkey is emptied."""
    valkey.flush()
    settings = worker_settings(database_url, valkey.url, folder, changes)
    await migrate.upgrade(settings.database)
    async with AsyncExitStack() as stack:
        pictures = await stack.enter_async_context(ImageServer())
        receiver = await stack.enter_async_context(CallbackReceiver(SECRET))
        base = await stack.enter_async_context(Foundation.open(settings))
        submissions = Submissions(base.db, base.ids, base.promises, settings.intake)
        await stack.enter_async_context(submissions)
        pictures.default = reply(200, PICTURE)
        yield WorkerBench(
            settings=settings, base=base, submissions=submissions, pictures=pictures, receiver=receiver
        )


@asynccontextmanager
async def running_worker(settings: Settings) -> AsyncIterator[Runner]:
    """Run a worker in this process; it is drained in a hurry at the end."""
    told_by(os.getpid()).unlink(missing_ok=True)
    async with asyncio.TaskGroup() as group, open_worker(settings, group) as runner:
        run = group.create_task(runner.run(group))
        try:
            yield runner
        finally:
            runner.stop()
            runner.stop()
            await run
            told_by(os.getpid()).unlink(missing_ok=True)


async def worker_ids(bench: WorkerBench) -> list[str]:
    """Give the boot ids of the workers that live."""
    return [worker.id for worker in await list_workers(bench.base.db)]
