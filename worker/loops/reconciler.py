"""Rebuilds the plan from the truth: what is missing in Redis, what waited too long, a lost Redis."""

from __future__ import annotations

import structlog

from core import metrics
from core.domain.promises import Promises
from core.domain.routing import QueueName
from core.errors import StalePlan
from core.ids import Ids
from core.plan import Plan, Repairs
from core.queue.lease import Beat, Claim
from core.store.engine import Database
from core.store.upkeep import expire_tasks

log = structlog.get_logger()


class Reconciler:
    """The duties that compare database and Redis; any number of workers may run them at once."""

    def __init__(self, db: Database, ids: Ids, promises: Promises, plan: Plan) -> None:
        self._db, self._ids, self._promises, self._plan = db, ids, promises, plan
        self._last: dict[str, Beat] = {}
        self._is_lost = False
        self._needs_sweep = True

    async def expire(self) -> None:
        """End tasks that waited longer than their caller allows."""
        expired = await expire_tasks(self._db, self._ids, self._promises)
        await self._plan.withdraw(expired)
        if expired:
            log.info("tasks.expired", count=len(expired))

    async def scan(self) -> None:
        """Queue what changed lately and is missing; everything after Redis was away."""
        if self._needs_sweep:
            await self.sweep()
            return
        try:
            _log_repairs("plan.scanned", await self._plan.scan())
        except Exception:
            self._needs_sweep = True
            raise

    async def sweep(self) -> None:
        """Queue every pending row that is missing, and drop messages that nobody will read."""
        repairs = await self._plan.sweep()
        self._needs_sweep = False
        _log_repairs("plan.swept", repairs)
        if dropped := await self._plan.drop_orphans():
            log.info("messages.dropped", count=dropped)

    async def beat(self) -> None:
        """One heartbeat in Redis; a plan that was lost or rolled back is rebuilt at once."""
        try:
            for queue in self._plan.queues.all():
                self._look_at(queue.name, await queue.beat())
        except Exception:
            self._needs_sweep = True
            raise
        if self._is_lost:
            await self._rebuild()

    def see_claim(self, name: QueueName, claim: Claim) -> None:
        """Notice between heartbeats that Redis was emptied: the epoch is missing."""
        if not claim.epoch:
            self._is_lost = True
            log.debug("plan.epoch_missing", queue=name.value)

    def _look_at(self, name: str, beat: Beat) -> None:
        last = self._last.get(name)
        went_back = last is not None and (beat.beat <= last.beat or beat.run_id != last.run_id)
        if not beat.epoch or went_back:
            self._is_lost = True
        self._last[name] = beat

    async def _rebuild(self) -> None:
        try:
            repairs = await self._plan.rebuild()
        except StalePlan:
            # Another is at it. Should it die, the epoch stays away or the sweep finds what is missing.
            self._is_lost, self._needs_sweep = False, True
            return
        self._is_lost = self._needs_sweep = False
        metrics.REBUILDS.inc()
        log.info("plan.rebuilt", tasks=repairs.tasks, deliveries=repairs.deliveries)


def _log_repairs(event: str, repairs: Repairs) -> None:
    metrics.ENTRIES_REPAIRED.labels("task").inc(repairs.tasks)
    metrics.ENTRIES_REPAIRED.labels("delivery").inc(repairs.deliveries)
    if repairs.tasks or repairs.deliveries:
        log.info(event, tasks=repairs.tasks, deliveries=repairs.deliveries)
