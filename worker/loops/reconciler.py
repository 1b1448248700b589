"""Keeps the plan what the rows say: what is missing in Redis, what waited too long, a lost Redis."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from time import monotonic, perf_counter

import structlog

from core import metrics
from core.domain.promises import Promises
from core.domain.routing import QueueName
from core.errors import QueueUnavailable, StalePlan
from core.ids import Ids
from core.plan import Plan
from core.queue.lease import Beat, Claim, Loss
from core.queue.locks import NamedLock
from core.repair import Repairs
from core.store.engine import Database
from core.store.upkeep import expire_tasks
from worker.endings import count_end

log = structlog.get_logger()

_HURRY_AGAIN_SECONDS = 0.25
_EXPIRE_AT_ONCE = 200
_EXPIRE_PAGES = 10
"""In one step, so that a flood that nobody served is ended within seconds."""


class Reconciler:
    """The duties that compare database and Redis; any number of workers may run them at once."""

    def __init__(
        self,
        db: Database,
        ids: Ids,
        promises: Promises,
        plan: Plan,
        *,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._db, self._ids, self._promises, self._plan = db, ids, promises, plan
        self._clock = clock
        self._last: dict[str, Beat] = {}
        self._beaten_at = self._clock()
        self._needs_sweep = True
        self._sweep_wanted_ms: int | None = None
        self.hurry: Callable[[], None] = lambda: None
        """Called when the next beat is better made now."""

    async def expire(self) -> None:
        """End tasks that waited longer than their caller allows."""
        for _ in range(_EXPIRE_PAGES):
            expired = await expire_tasks(self._db, self._ids, self._promises, limit=_EXPIRE_AT_ONCE)
            if not expired:
                return
            await self._plan.hand_on(expired)
            for one in expired:
                count_end(one.after)
            log.info("tasks.expired", count=len(expired))
            if len(expired) < _EXPIRE_AT_ONCE:
                return

    async def scan(self) -> None:
        """Queue what changed lately and is missing; compare everything after Redis was away."""
        if self._needs_sweep:
            await self._sweep_if_nobody_did()
            return
        try:
            await self._in_turn("plan.scanned", self._plan.scan)
        except Exception:
            self._needs_sweep = True
            raise

    async def sweep(self) -> None:
        """Compare every entry with its row and every waiting row with its entry."""
        began_ms = await self._plan.queues.recognition.now_ms()
        if await self._in_turn("plan.swept", self._plan.sweep):
            self._needs_sweep, self._sweep_wanted_ms = False, None
            await self._plan.queues.recognition.note_sweep(began_ms)

    async def _sweep_if_nobody_did(self) -> None:
        """Sweep, unless another worker began to after this one first saw Redis again."""
        queue = self._plan.queues.recognition
        if self._sweep_wanted_ms is None:
            self._sweep_wanted_ms = await queue.now_ms()
        if await queue.swept_ms() > self._sweep_wanted_ms:
            self._needs_sweep, self._sweep_wanted_ms = False, None
            return
        await self.sweep()

    async def _in_turn(self, event: str, duty: Callable[[NamedLock], Awaitable[Repairs]]) -> bool:
        """Do a duty that one worker at a time need do; False = another is at it."""
        lock = self._plan.lock("reconcile")
        if not await lock.acquire():
            return False
        try:
            repairs = await duty(lock)
        finally:
            with suppress(QueueUnavailable):
                await lock.release()
        if kinds := repairs.by_kind():
            log.info(event, **kinds)
        return True

    async def beat(self) -> None:
        """One heartbeat in Redis; a plan that was lost or rolled back is rebuilt at once."""
        self._beaten_at = self._clock()
        losses: list[Loss | None] = []
        try:
            for queue in self._plan.queues.all():
                beat = await queue.beat()
                losses.append(beat.loss(self._last.get(queue.name)))
                self._last[queue.name] = beat
        except Exception:
            self._want_sweep()
            raise
        loss = next((one for one in losses if one is not None), None)
        if loss is not None:
            await self._rebuild(loss)

    def see_claim(self, name: QueueName, claim: Claim) -> None:
        """Notice between heartbeats that Redis was emptied: the epoch is missing."""
        if not claim.epoch and self._clock() - self._beaten_at > _HURRY_AGAIN_SECONDS:
            self._beaten_at = self._clock()
            log.debug("plan.epoch_missing", queue=name.value)
            self.hurry()

    def _want_sweep(self) -> None:
        self._needs_sweep, self._sweep_wanted_ms = True, None

    async def _rebuild(self, loss: Loss) -> None:
        began = perf_counter()
        # What stayed of an older plan is compared later: it starts nothing meanwhile, the rows see to that.
        self._want_sweep()
        try:
            repairs = await self._plan.rebuild()
        except StalePlan:
            # Another is at it. Should it die, the epoch stays away and the next beat tries again.
            return
        seconds = perf_counter() - began
        metrics.REBUILDS.labels(loss.value).inc()
        metrics.REBUILD_SECONDS.observe(seconds)
        log.info(
            "plan.rebuilt",
            loss=loss.value,
            tasks=repairs.tasks,
            deliveries=repairs.deliveries,
            duration_ms=round(seconds * 1000),
        )
