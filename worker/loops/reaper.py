"""Takes back what dead workers held: by their rows once a second, and by expired leases in Redis."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import structlog

from core import metrics
from core.domain.delivery import Delivery, DeliveryStatus
from core.domain.promises import Promises
from core.domain.routing import Member, QueueName, member_of_delivery, member_of_task, queue_of
from core.domain.task import Task, TaskStatus
from core.ids import Ids
from core.plan import Plan
from core.queue.lease import Outcome, Settlement
from core.repair import delay_ms_until
from core.store.deliveries import take_back_lost_deliveries
from core.store.delivery_log import get_deliveries
from core.store.engine import Database
from core.store.tasks import get_tasks
from core.store.upkeep import take_back_lost
from core.store.workers import declare_dead
from core.testpoints import reach
from worker.endings import count_end
from worker.identity import Identity

log = structlog.get_logger()

_LIMIT = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class ReaperSettings:
    """The budgets of what is taken back."""

    max_task_crashes: int
    max_delivery_crashes: int


class Reaper:
    """Declares silent workers dead, takes their tasks and deliveries, and clears expired leases."""

    def __init__(
        self,
        db: Database,
        ids: Ids,
        promises: Promises,
        plan: Plan,
        identity: Identity,
        settings: ReaperSettings,
    ) -> None:
        self._db, self._ids, self._promises = db, ids, promises
        self._plan, self._identity, self._settings = plan, identity, settings

    async def step(self) -> None:
        """Reap once; raises Unavailable when the database or Redis is away."""
        if self._identity.is_steady:
            for worker_id in await declare_dead(self._db):
                metrics.WORKERS_LOST.inc()
                log.warning("worker.declared_dead", worker_id=worker_id)
            await self._take_tasks()
            await self._take_deliveries()
        # Who cannot ask the rows would only hold the leases, and again when the hold is over.
        self._identity.refuse_unless_fresh()
        for name in QueueName:
            await self._clear_leases(name)

    async def _take_tasks(self) -> None:
        taken = await take_back_lost(
            self._db, self._ids, self._promises, max_crashes=self._settings.max_task_crashes
        )
        if taken:
            reach("tasks.taken_back")
        for one in taken:
            metrics.TASKS_TAKEN_BACK.labels(one.after.status.value).inc()
            if one.after.is_final:
                count_end(one.after)
            log.warning(
                "task.taken_back", task_id=one.after.id, status=one.after.status, crashes=one.after.crashes
            )
        await self._plan.hand_on(taken)

    async def _take_deliveries(self) -> None:
        taken = await take_back_lost_deliveries(self._db, max_crashes=self._settings.max_delivery_crashes)
        for one in taken:
            metrics.DELIVERIES_TAKEN_BACK.labels(one.status.value).inc()
            if one.status is DeliveryStatus.DEAD:
                metrics.DELIVERIES.labels(one.status.value).inc()
                log.warning("delivery.died", delivery_id=one.id, task_id=one.task_id, crashes=one.crashes)
        await self._plan.enqueue_deliveries([one for one in taken if one.status is DeliveryStatus.PENDING])

    async def _clear_leases(self, name: QueueName) -> None:
        """Ask the rows what becomes of expired leases; those of a living worker are only held longer."""
        queue, token = self._plan.queues.of(name), self._identity.next_token()
        # Held for a beat only: a row that is taken back meanwhile leaves its lease no longer than that.
        expired = await queue.reap(token, _LIMIT, int(self._identity.lease_seconds * 1000 / 3))
        if not expired:
            return
        reach("leases.reaped")
        metrics.LEASES_EXPIRED.labels(name.value).inc(len(expired))
        moved: list[Task] = []
        if name is QueueName.DELIVERY:
            settlements = await self._judge_deliveries(token, expired)
        else:
            settlements, moved = await self._judge_tasks(name, token, expired)
        ended = await queue.settle(settlements)
        given_on = sum(
            won and one.outcome is not Outcome.ACK for won, one in zip(ended, settlements, strict=True)
        )
        metrics.LEASES_REASSIGNED.labels(name.value).inc(given_on)
        await self._plan.enqueue_tasks(moved)
        log.info("leases.reaped", queue=name.value, expired=len(expired), settled=len(settlements))

    async def _judge_tasks(
        self, name: QueueName, token: str, expired: Sequence[Member]
    ) -> tuple[list[Settlement], list[Task]]:
        rows = {task.id: task for task in await get_tasks(self._db, [member.id for member in expired])}
        now = await self._db.now()
        settlements: list[Settlement] = []
        moved: list[Task] = []
        for member in expired:
            row = rows.get(member.id)
            if row is not None and row.status is TaskStatus.IN_PROGRESS and row.attempt == member.attempt:
                continue  # its worker is alive, or its row is taken back first
            stays = row is not None and row.status is TaskStatus.PENDING
            if row is not None and stays and queue_of(crashes=row.crashes) is not name:
                moved.append(row)
                stays = False
            due_at = row.next_attempt_at if row else None
            next_member = member_of_task(row) if row and stays else None
            settlements.append(_settlement(member, token, next_member, delay_ms=delay_ms_until(due_at, now)))
        return settlements, moved

    async def _judge_deliveries(self, token: str, expired: Sequence[Member]) -> list[Settlement]:
        rows: dict[int, Delivery] = {
            sent.id: sent for sent in await get_deliveries(self._db, [member.id for member in expired])
        }
        now = await self._db.now()
        settlements = []
        for member in expired:
            row = rows.get(member.id)
            if row is not None and row.status is DeliveryStatus.SENDING and row.attempt == member.attempt:
                continue
            waits = row is not None and row.status is DeliveryStatus.PENDING
            due_at = row.next_attempt_at if row else None
            next_member = member_of_delivery(row) if row and waits else None
            settlements.append(_settlement(member, token, next_member, delay_ms=delay_ms_until(due_at, now)))
        return settlements


def _settlement(member: Member, token: str, next_member: Member | None, *, delay_ms: int) -> Settlement:
    outcome = Outcome.ACK if next_member is None else Outcome.RELEASE
    return Settlement(member=member, token=token, outcome=outcome, next_member=next_member, delay_ms=delay_ms)
