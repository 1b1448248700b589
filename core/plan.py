"""Where truth and plan meet: rows become entries, and entries are put back from rows."""

from __future__ import annotations

import asyncio
import uuid
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta

from core.domain.delivery import Delivery
from core.domain.message import TaskMessage
from core.domain.routing import QueueName, member_of_delivery, member_of_task, queue_of
from core.domain.task import Task
from core.errors import QueueUnavailable, StalePlan
from core.queue.lease import Entry, FlowLimit
from core.queue.locks import NamedLock
from core.queue.queue import TaskQueue
from core.store.deliveries import pending_deliveries_page
from core.store.engine import Database
from core.store.queue_states import paused_queues, write_paused
from core.store.systems import Systems
from core.store.upkeep import pending_page, read_scan_mark, write_scan_mark
from core.testpoints import reach

SCAN_OVERLAP = timedelta(seconds=120)
_PAGE = 500
REBUILD_LOCK_SECONDS = 5.0
"""Prolonged with every page; a rebuilder that dies holds up the next one no longer than this."""
_ORPHANS_AT_ONCE = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Queues:
    """The three queues."""

    recognition: TaskQueue
    solo: TaskQueue
    delivery: TaskQueue

    def of(self, name: QueueName) -> TaskQueue:
        """The queue of that name."""
        queues = {
            QueueName.RECOGNITION: self.recognition,
            QueueName.SOLO: self.solo,
            QueueName.DELIVERY: self.delivery,
        }
        return queues[name]

    def all(self) -> tuple[TaskQueue, ...]:
        """All of them."""
        return (self.recognition, self.solo, self.delivery)


@dataclass(frozen=True, slots=True, kw_only=True)
class Repairs:
    """How many entries a scan found missing."""

    tasks: int = 0
    deliveries: int = 0


class Plan:
    """Keeps Redis in step with the database; every method may be repeated, and two may run at once."""

    def __init__(self, db: Database, queues: Queues, systems: Systems) -> None:
        self._db, self.queues, self._systems = db, queues, systems

    async def enqueue_tasks(self, tasks: Sequence[Task]) -> bool:
        """Queue pending tasks; False when Redis is away: the reconciler queues them later."""
        try:
            await self._add_tasks(tasks, at=None)
        except QueueUnavailable:
            return False
        return True

    async def enqueue_deliveries(self, deliveries: Sequence[Delivery]) -> bool:
        """Queue pending deliveries; False when Redis is away: the reconciler queues them later."""
        try:
            await self._add_deliveries(deliveries, at=None)
        except QueueUnavailable:
            return False
        return True

    async def withdraw(self, tasks: Sequence[Task]) -> None:
        """Take ended tasks' waiting entries out, given as they were; a stale one would be harmless."""
        try:
            for name, members in _by_queue(tasks).items():
                await self.queues.of(name).cancel([member_of_task(task) for task in members])
        except QueueUnavailable:
            return

    async def scan(self) -> Repairs:
        """Queue what was changed lately and is not in Redis; the mark is kept in the database."""
        began = await self._db.now()
        mark = await read_scan_mark(self._db, QueueName.RECOGNITION)
        if mark is None:
            found = await self.sweep()
        else:
            found = await self._repair(began, changed_after=mark - SCAN_OVERLAP)
        await write_scan_mark(self._db, QueueName.RECOGNITION, began)
        return found

    async def sweep(self) -> Repairs:
        """Queue every pending row that is not in Redis, page by page."""
        return await self._repair(await self._db.now(), changed_after=None)

    async def rebuild(self) -> Repairs:
        """Put the whole plan back; claiming goes on meanwhile.

        Raises:
            StalePlan: another rebuild has begun, or Redis was emptied again.
        """
        lock = self.rebuild_lock()
        if not await lock.acquire():
            raise StalePlan
        try:
            return await self._rebuild(lock)
        finally:
            with suppress(QueueUnavailable):
                await lock.release()

    def rebuild_lock(self) -> NamedLock:
        """The lock of whoever rebuilds; it only saves work."""
        queue = self.queues.recognition
        return NamedLock(
            queue.connections,
            "rebuild",
            ttl_seconds=REBUILD_LOCK_SECONDS,
            namespace=queue.keys.namespace,
        )

    async def _rebuild(self, lock: NamedLock) -> Repairs:
        rebuild_id = uuid.uuid4().hex
        at = await self._db.now()  # whoever cannot read the rows must not declare the plan lost
        for queue in self.queues.all():
            await queue.rebuild_begin(rebuild_id)
        await self.restore_limits()
        found = await self._repair(at, changed_after=None, rebuild_id=rebuild_id, lock=lock)
        ended = [await queue.rebuild_end(rebuild_id) for queue in self.queues.all()]
        if not all(ended):
            raise StalePlan
        return found

    async def drop_orphans(self) -> int:
        """Delete messages whose task has no entry any more; answers how many."""
        return sum(
            [
                await queue.drop_orphan_messages(_ORPHANS_AT_ONCE)
                for queue in (self.queues.recognition, self.queues.solo)
            ]
        )

    async def restore_limits(self) -> None:
        """Copy weights and bounds of the systems, and which queues are paused, into Redis."""
        limits = [
            FlowLimit(flow=system.code, weight=system.weight, max_running=system.max_running)
            for system in await self._systems.all()
        ]
        for queue in (self.queues.recognition, self.queues.solo):
            await queue.set_limits(limits)
        paused = await paused_queues(self._db)
        for queue in self.queues.all():
            await queue.set_paused(queue.name in paused)

    async def set_paused(self, name: QueueName, *, paused: bool) -> None:
        """Stop or start claiming from a queue; while Redis is away it follows with the limits."""
        await write_paused(self._db, name, paused=paused)
        with suppress(QueueUnavailable):
            await self.queues.of(name).set_paused(paused)

    async def _repair(
        self,
        at: datetime,
        *,
        changed_after: datetime | None,
        rebuild_id: str = "",
        lock: NamedLock | None = None,
    ) -> Repairs:
        tasks = deliveries = 0
        async for page in self._task_pages(changed_after):
            reach("page.read")
            tasks += await self._add_tasks(page, at=at, rebuild_id=rebuild_id)
            await _keep(lock)
        async for sent in self._delivery_pages(changed_after):
            deliveries += await self._add_deliveries(sent, at=at, rebuild_id=rebuild_id)
            await _keep(lock)
        return Repairs(tasks=tasks, deliveries=deliveries)

    async def _task_pages(self, changed_after: datetime | None) -> AsyncIterator[list[Task]]:
        last = 0
        while page := await pending_page(self._db, after_id=last, changed_after=changed_after, limit=_PAGE):
            yield page
            last = page[-1].id

    async def _delivery_pages(self, changed_after: datetime | None) -> AsyncIterator[list[Delivery]]:
        last = 0
        while page := await pending_deliveries_page(
            self._db, after_id=last, changed_after=changed_after, limit=_PAGE
        ):
            yield page
            last = page[-1].id

    async def _add_tasks(self, tasks: Iterable[Task], *, at: datetime | None, rebuild_id: str = "") -> int:
        added = 0
        for name, of_queue in _by_queue(tasks).items():
            entries = [entry_of_task(task, at) for task in of_queue]
            added += sum(await self.queues.of(name).enqueue(entries, rebuild_id))
        return added

    async def _add_deliveries(
        self, deliveries: Iterable[Delivery], *, at: datetime | None, rebuild_id: str = ""
    ) -> int:
        entries = [
            Entry(member=member_of_delivery(sent), delay_ms=delay_ms_until(sent.next_attempt_at, at))
            for sent in deliveries
        ]
        return sum(await self.queues.delivery.enqueue(entries, rebuild_id))


def entry_of_task(task: Task, at: datetime | None) -> Entry:
    """A pending task's entry; its message goes along only while it is all there is to know."""
    message = TaskMessage.of(task).to_json() if task.attempt == 0 else None
    delay_ms = delay_ms_until(task.next_attempt_at, at or task.updated_at)
    return Entry(member=member_of_task(task), delay_ms=delay_ms, message=message)


def delay_ms_until(due: datetime | None, at: datetime | None) -> int:
    """Milliseconds from `at` (the server's clock) to `due`."""
    if due is None or at is None:
        return 0
    return max(0, int((due - at).total_seconds() * 1000))


def _by_queue(tasks: Iterable[Task]) -> dict[QueueName, list[Task]]:
    found: dict[QueueName, list[Task]] = defaultdict(list)
    for task in tasks:
        found[queue_of(crashes=task.crashes)].append(task)
    return found


async def _keep(lock: NamedLock | None) -> None:
    """Hold the rebuild's lock for another while, and let others run."""
    if lock is not None:
        await lock.extend()
    await asyncio.sleep(0)
