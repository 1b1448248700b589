"""Where truth and plan meet: rows become entries, and entries are put back from rows."""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta

from core.domain.delivery import Delivery
from core.domain.message import TaskMessage
from core.domain.routing import QueueName, member_of_delivery, member_of_task, queue_of
from core.domain.task import Task
from core.errors import QueueUnavailable, StalePlan
from core.queue.events import Event, EventKind, Events
from core.queue.lease import Entry, FlowLimit
from core.queue.locks import NamedLock
from core.queue.queue import TaskQueue
from core.repair import Comparison, Repair, Repairs, delay_ms_until, entry_of, keep, pages
from core.store.engine import Database
from core.store.queue_states import paused_queues, write_paused
from core.store.standings import DELIVERIES, TASKS, Standing, kind_of, standings
from core.store.systems import Systems
from core.store.upkeep import Moved, read_scan_mark, write_scan_mark
from core.testpoints import reach

SCAN_OVERLAP = timedelta(seconds=120)
_PAGE = 500
LOCK_SECONDS = 5.0
"""Prolonged with every page; whoever dies holding it holds up the next one no longer than this."""


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


class Plan:
    """Keeps Redis in step with the database; every method may be repeated, and two may run at once."""

    def __init__(
        self,
        db: Database,
        queues: Queues,
        systems: Systems,
        events: Events,
        *,
        lease_seconds: float = 15.0,
    ) -> None:
        self._db, self.queues, self._systems, self._events = db, queues, systems, events
        self._lease_seconds = lease_seconds

    async def enqueue_tasks(self, tasks: Sequence[Task]) -> bool:
        """Queue pending tasks; False when Redis is away: the reconciler queues them later."""
        try:
            for name, of_queue in _by_queue(tasks).items():
                await self.queues.of(name).enqueue([entry_of_task(task) for task in of_queue])
        except QueueUnavailable:
            return False
        return True

    async def enqueue_deliveries(self, deliveries: Sequence[Delivery]) -> bool:
        """Queue pending deliveries; False when Redis is away: the reconciler queues them later."""
        try:
            entries = [Entry(member=member_of_delivery(sent)) for sent in deliveries]
            await self.queues.delivery.enqueue(entries)
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

    async def hand_on(self, moved: Sequence[Moved]) -> None:
        """Bring the plan up to tasks that were ended or put back, send what that promised, and tell."""
        over = [one for one in moved if one.after.is_final]
        await self.withdraw([one.before for one in over])
        await self.enqueue_tasks([one.after for one in moved if not one.after.is_final])
        await self.enqueue_deliveries([sent for one in moved for sent in one.deliveries])
        with suppress(QueueUnavailable):
            await self._events.publish(*(_ended(one.after) for one in moved))

    async def scan(self, lock: NamedLock | None = None) -> Repairs:
        """Queue what was changed lately and is not in Redis; the mark is kept in the database."""
        began = await self._db.now()
        mark = await read_scan_mark(self._db, QueueName.RECOGNITION)
        if mark is None:
            found = await self.sweep(lock)
        else:
            found = Repairs()
            await self._put_back(found, changed_after=mark - SCAN_OVERLAP, lock=lock)
        await write_scan_mark(self._db, QueueName.RECOGNITION, began)
        return found

    async def sweep(self, lock: NamedLock | None = None) -> Repairs:
        """Compare everything: take out or hasten what the rows do not say, queue what is missing."""
        found = Repairs()
        for name in QueueName:
            queue = self.queues.of(name)
            await Comparison(self._db, queue, name, found, lease_seconds=self._lease_seconds).run(lock)
        await self._put_back(found, lock=lock)
        return found

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
        """The lock of whoever rebuilds."""
        return self.lock("rebuild")

    def lock(self, name: str) -> NamedLock:
        """A lock for a duty that one worker at a time need do; it only saves work."""
        queue = self.queues.recognition
        return NamedLock(queue.connections, name, ttl_seconds=LOCK_SECONDS, namespace=queue.keys.namespace)

    async def _rebuild(self, lock: NamedLock) -> Repairs:
        rebuild_id = uuid.uuid4().hex
        await self._db.ping()  # whoever cannot read the rows must not declare the plan lost
        for queue in self.queues.all():
            await queue.rebuild_begin(rebuild_id)
        await self.restore_limits()
        found = Repairs()
        await self._put_back(found, rebuild_id=rebuild_id, lock=lock)
        ended = [await queue.rebuild_end(rebuild_id) for queue in self.queues.all()]
        if not all(ended):
            raise StalePlan
        return found

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

    async def ready_lag_seconds(self, name: QueueName) -> float:
        """How long the entry that is next in a queue might have run already; 0 when none is ready."""
        head = await self.queues.of(name).head()
        row = (await standings(self._db, kind_of(name), [head.id])).get(head.id) if head else None
        if row is None or row.member != head:
            return 0.0
        return max(0.0, (await self._db.now() - row.due_at).total_seconds())

    async def _put_back(
        self,
        found: Repairs,
        *,
        changed_after: datetime | None = None,
        rebuild_id: str = "",
        lock: NamedLock | None = None,
    ) -> None:
        """Queue waiting rows that have no entry, page by page."""
        at = await self._db.now()
        for kind in (TASKS, DELIVERIES):
            async for page in pages(self._db, kind, changed_after=changed_after, limit=_PAGE):
                reach("page.read")
                for name, rows in _standings_by_queue(page).items():
                    entries = [entry_of(row, at) for row in rows]
                    added = sum(await self.queues.of(name).enqueue(entries, rebuild_id))
                    found.note(name, Repair.REBUILT if rebuild_id else Repair.MISSING, added)
                await keep(lock)


def entry_of_task(task: Task) -> Entry:
    """A pending task's entry; its message goes along only while it is all there is to know."""
    message = TaskMessage.of(task).to_json() if task.attempt == 0 else None
    delay_ms = delay_ms_until(task.next_attempt_at, task.updated_at)
    return Entry(member=member_of_task(task), delay_ms=delay_ms, message=message)


def _ended(task: Task) -> Event:
    """What those hear who wait for a task: that an attempt has ended, perhaps the task."""
    return Event(
        kind=EventKind.ENDED,
        id=task.id,
        system_code=task.system_code,
        attempt=task.attempt,
        status=task.status,
    )


def _by_queue(tasks: Iterable[Task]) -> dict[QueueName, list[Task]]:
    found: dict[QueueName, list[Task]] = defaultdict(list)
    for task in tasks:
        found[queue_of(crashes=task.crashes)].append(task)
    return found


def _standings_by_queue(rows: Iterable[Standing]) -> dict[QueueName, list[Standing]]:
    found: dict[QueueName, list[Standing]] = defaultdict(list)
    for row in rows:
        found[row.queue].append(row)
    return found
