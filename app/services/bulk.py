"""Changes to many tasks or deliveries at once, in bounded batches with a transaction each."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from functools import partial

from app.auth import Principal
from app.services.tasks import TaskService
from core.foundation import Foundation
from core.store.bulk import (
    BulkChange,
    cancel_tasks,
    changeable_page,
    count_changeable,
    retry_tasks,
)
from core.store.delivery_log import DeliveryFilter, count_replayable, replay_deliveries, replayable_page
from core.store.tasks import TaskFilter

MAX_CHANGES = 5000
"""Of one request, which takes some seconds then; it can be repeated."""
_AT_ONCE = 100
"""Of one transaction."""

Page = Callable[..., Awaitable[list[int]]]
Change = Callable[[list[int]], Awaitable[int]]


@dataclass(frozen=True, slots=True, kw_only=True)
class BulkOutcome:
    """How many met the filter and could be changed, how many were, and whether there are more of them."""

    dry_run: bool
    matched: int
    changed: int = 0
    has_more: bool = False


class BulkService:
    """Use cases on whatever a filter chooses; a system reaches its own alone."""

    def __init__(self, base: Foundation, tasks: TaskService, *, max_changes: int = MAX_CHANGES) -> None:
        self._base, self._tasks, self._max_changes = base, tasks, max_changes

    async def change_tasks(
        self, change: BulkChange, wanted: TaskFilter, principal: Principal, *, dry_run: bool
    ) -> BulkOutcome:
        """Cancel or retry tasks, each as the single call does."""
        own = replace(wanted, system_code=principal.system_code or wanted.system_code)
        if dry_run:
            return self._counted(await count_changeable(self._base.db, change, own))
        work = self._cancel if change is BulkChange.CANCEL else self._retry
        return await self._in_batches(partial(changeable_page, self._base.db, change, own), work)

    async def replay(self, wanted: DeliveryFilter, principal: Principal, *, dry_run: bool) -> BulkOutcome:
        """Send ended deliveries again, each as the single call does."""
        own = replace(wanted, system_code=principal.system_code or wanted.system_code)
        if dry_run:
            return self._counted(await count_replayable(self._base.db, own))
        return await self._in_batches(partial(replayable_page, self._base.db, own), self._replay)

    async def _cancel(self, task_ids: list[int]) -> int:
        met = await cancel_tasks(self._base.db, self._base.ids, self._base.promises, task_ids)
        await self._tasks.follow_cancel(met)
        return len(met)

    async def _retry(self, task_ids: list[int]) -> int:
        again = await retry_tasks(self._base.db, self._base.ids, task_ids)
        await self._base.plan.enqueue_tasks(again)
        return len(again)

    async def _replay(self, delivery_ids: list[int]) -> int:
        again = await replay_deliveries(self._base.db, delivery_ids)
        await self._base.plan.enqueue_deliveries(again)
        return len(again)

    def _counted(self, matched: int) -> BulkOutcome:
        return BulkOutcome(dry_run=True, matched=matched, has_more=matched > self._max_changes)

    async def _in_batches(self, page: Page, change: Change) -> BulkOutcome:
        """Change page after page; a batch that is committed stays changed whatever becomes of the next."""
        matched = changed = last_id = 0
        while (left := self._max_changes - matched) > 0:
            found = await page(after_id=last_id, limit=min(left, _AT_ONCE))
            if not found:
                return BulkOutcome(dry_run=False, matched=matched, changed=changed)
            changed += await change(found)
            matched, last_id = matched + len(found), found[-1]
        has_more = bool(await page(after_id=last_id, limit=1))
        return BulkOutcome(dry_run=False, matched=matched, changed=changed, has_more=has_more)
