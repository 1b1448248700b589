"""Compares one queue with the rows, both ways: what is missing, late, stuck, or there for nothing.

The rows decide. Every change may be repeated and two may run at once; what a row's next change
overtakes here is found again by the next comparison.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from core import metrics
from core.domain.routing import Member, QueueName
from core.queue.lease import CancelOutcome, Entry, Limit, Place
from core.queue.locks import NamedLock
from core.queue.queue import TaskQueue
from core.store.engine import Database
from core.store.standings import Kind, Phase, Standing, kind_of, standings, waiting_page

SPREAD_SECONDS = 3.0
"""What fell due during an outage comes back over so many seconds, not all at one moment."""
LATE_MS = 5000
"""An entry may be due so much later than its row says; more than the spread."""
LAPSE_MS = 4000
"""A lease on what its row has left behind ends within this; a settlement under way still finds it."""


class Repair(StrEnum):
    """What can be wrong with an entry."""

    MISSING = "missing"
    """A row waits and has no entry."""
    LATE = "late"
    """Its entry is due later than the row says."""
    STUCK = "stuck"
    """Its entry is leased for longer than any lease is."""
    GHOST = "ghost"
    """Its row is gone, has ended, or is past this attempt."""
    MESSAGE = "message"
    """A message that nobody will read."""
    REBUILT = "rebuilt"
    """Put back because the whole plan was lost."""


@dataclass(slots=True)
class Repairs:
    """What was put right, by queue and kind; counted for Prometheus as it happens."""

    counts: Counter[tuple[QueueName, Repair]] = field(default_factory=Counter)

    def note(self, queue: QueueName, kind: Repair, times: int) -> None:
        """Count repairs."""
        if times:
            self.counts[queue, kind] += times
            metrics.ENTRIES_REPAIRED.labels(queue.value, kind.value).inc(times)

    @property
    def tasks(self) -> int:
        """Tasks that were put back."""
        return sum(self._put_back(queue) for queue in (QueueName.RECOGNITION, QueueName.SOLO))

    @property
    def deliveries(self) -> int:
        """Deliveries that were put back."""
        return self._put_back(QueueName.DELIVERY)

    def _put_back(self, queue: QueueName) -> int:
        return self.counts[queue, Repair.MISSING] + self.counts[queue, Repair.REBUILT]

    def by_kind(self) -> dict[str, int]:
        """Repairs of all queues by kind; only what there was."""
        kinds: Counter[str] = Counter()
        for (_, kind), times in self.counts.items():
            kinds[kind.value] += times
        return dict(kinds)


async def pages(
    db: Database, kind: Kind, *, changed_after: datetime | None, limit: int
) -> AsyncIterator[list[Standing]]:
    """Waiting rows page by page: all of them, or those that changed lately."""
    last: Standing | None = None
    while page := await waiting_page(db, kind, after=last, changed_after=changed_after, limit=limit):
        yield page
        if len(page) < limit:
            return
        last = page[-1]


def entry_of(row: Standing, at: datetime) -> Entry:
    """The entry of a waiting row; what is due soon, or should have run long since, is spread.

    It has no message: whoever claims it reads the row.
    """
    delay_ms = delay_ms_until(row.next_attempt_at, at)
    if row.next_attempt_at is not None:
        delay_ms = max(delay_ms, int(random.uniform(0, SPREAD_SECONDS) * 1000))
    return Entry(member=row.member, delay_ms=delay_ms)


def delay_ms_until(due: datetime | None, at: datetime | None) -> int:
    """Milliseconds from `at` (the server's clock) to `due`."""
    if due is None or at is None:
        return 0
    return max(0, int((due - at).total_seconds() * 1000))


class Comparison:
    """Walks over the entries of one queue and asks the rows, page by page."""

    def __init__(
        self, db: Database, queue: TaskQueue, name: QueueName, repairs: Repairs, *, lease_seconds: float
    ) -> None:
        self._db, self._queue, self._name, self._repairs = db, queue, name, repairs
        self._kind = kind_of(name)
        self._longest_lease_ms = int(lease_seconds * 2000)

    async def run(self, lock: NamedLock | None = None) -> None:
        """Compare every entry and every message."""
        for place in Place:
            async with aclosing(self._queue.members(place)) as found:
                async for page in found:
                    await self._judge(place, page)
                    await keep(lock)
        async with aclosing(self._queue.message_ids()) as messages:
            async for ids in messages:
                await self._judge_messages(ids)
                await keep(lock)

    async def _judge(self, place: Place, page: Sequence[Member]) -> None:
        rows = await standings(self._db, self._kind, [member.id for member in page])
        good = [member for member in page if self._fits(place, member, rows.get(member.id))]
        ghosts = set(page).difference(good)
        if place is Place.LEASED:
            await self._cut_leases(Repair.GHOST, ghosts, LAPSE_MS)
            await self._cut_leases(Repair.STUCK, good, self._longest_lease_ms)
            return
        # One that was retried by its owner since its row was read may go too; the next scan finds it.
        outcomes = await self._queue.cancel(list(ghosts))
        self._repairs.note(self._name, Repair.GHOST, outcomes.count(CancelOutcome.WAITING))
        if place is Place.DELAYED:
            await self._hasten_late([rows[member.id] for member in good])

    def _fits(self, place: Place, member: Member, row: Standing | None) -> bool:
        """Whether an entry is the one that its row asks for, or is worked on right now."""
        if row is None or row.phase is Phase.OVER:
            return False
        if row.phase is Phase.RUNNING:
            return place is Place.LEASED and member.attempt == row.member.attempt - 1
        return member == row.member and row.queue is self._name

    async def _hasten_late(self, rows: Sequence[Standing]) -> None:
        at = await self._db.now()
        due = [(row.member, delay_ms_until(row.next_attempt_at, at)) for row in rows]
        limits = [
            Limit(member=member, at_most_ms=delay_ms + LATE_MS, then_ms=delay_ms) for member, delay_ms in due
        ]
        await self._hasten(Repair.LATE, limits)

    async def _cut_leases(self, kind: Repair, members: Iterable[Member], at_most_ms: int) -> None:
        await self._hasten(
            kind, [Limit(member=one, at_most_ms=at_most_ms, then_ms=at_most_ms // 2) for one in members]
        )

    async def _hasten(self, kind: Repair, limits: Sequence[Limit]) -> None:
        self._repairs.note(self._name, kind, sum(await self._queue.hasten(limits)))

    async def _judge_messages(self, ids: Sequence[int]) -> None:
        rows = await standings(self._db, self._kind, ids)
        unread = [one for one in ids if one not in rows or rows[one].phase is Phase.OVER]
        self._repairs.note(self._name, Repair.MESSAGE, await self._queue.drop_messages(unread))


async def keep(lock: NamedLock | None) -> None:
    """Hold a lock for another while, and let others run."""
    if lock is not None:
        await lock.extend()
    await asyncio.sleep(0)
