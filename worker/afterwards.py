"""What follows a commit, for many at once: leases are settled, entries queued, listeners told.

The database commits first, Redis follows, listeners hear last; what is lost in between the
reconciler does. Attempts and tries that end together share one call of each kind.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from typing import Self

from core.domain.delivery import Delivery
from core.domain.routing import QueueName
from core.domain.task import Task
from core.errors import IntakeFull, QueueUnavailable
from core.plan import Plan
from core.queue.events import Event, Events
from core.queue.lease import Settlement
from core.store.group_commit import GroupCommit
from core.testpoints import reach

_MAX_GROUP = 100
_MAX_PENDING = 100_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Aftermath:
    """What one commit leaves to do."""

    queue: QueueName | None = None
    settlement: Settlement | None = None
    waiting: Task | None = None
    """A task that waits again: queued by itself when its lease was not there to carry it on."""
    deliveries: tuple[Delivery, ...] = ()
    event: Event | None = None


class Afterwards:
    """Does it, in groups; an async context manager. Nothing here raises: what fails is repaired."""

    def __init__(self, plan: Plan, events: Events) -> None:
        self._plan, self._events = plan, events
        self._group: GroupCommit[Aftermath, None] = GroupCommit(
            self._do, max_group=_MAX_GROUP, max_pending=_MAX_PENDING
        )
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        await self._stack.enter_async_context(self._group)
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._stack.aclose()

    async def do(self, left: Aftermath) -> None:
        """Do what one commit left, together with what others leave at the same moment."""
        with suppress(IntakeFull):
            await self._group.submit(left)

    async def _do(self, group: Sequence[Aftermath]) -> list[Exception | None]:
        # With Redis away the first step tells; the others would only wait as long again.
        with suppress(QueueUnavailable):
            stranded = await self._settle(group)
            reach("record.settled")
            if stranded:
                await self._plan.enqueue_tasks(stranded)
            deliveries = [promised for left in group for promised in left.deliveries]
            if deliveries:
                await self._plan.enqueue_deliveries(deliveries)
            await self._events.publish(*(left.event for left in group if left.event is not None))
        return [None] * len(group)

    async def _settle(self, group: Sequence[Aftermath]) -> list[Task]:
        """End the leases; answers the tasks that wait and were not carried on by theirs."""
        by_queue: dict[QueueName, list[Aftermath]] = defaultdict(list)
        for left in group:
            if left.queue is not None and left.settlement is not None:
                by_queue[left.queue].append(left)
        carried: set[int] = set()
        for name, ending in by_queue.items():
            settlements = [left.settlement for left in ending if left.settlement is not None]
            flags = await self._plan.queues.of(name).settle(settlements)
            carried.update(
                left.waiting.id
                for left, was_ours in zip(ending, flags, strict=True)
                if was_ours and left.waiting is not None and left.settlement and left.settlement.next_member
            )
        return [left.waiting for left in group if left.waiting is not None and left.waiting.id not in carried]
