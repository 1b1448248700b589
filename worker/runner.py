"""A worker's life: register, run the loops, drain on SIGTERM, leave."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

import structlog

from core.clock import ServerClock
from core.errors import Unavailable
from core.queue.events import EventKind, Events
from core.store.engine import Database
from core.store.workers import close_worker, register_worker
from core.testpoints import reach
from worker.attempt import Carriers, Holdings, StopReason
from worker.identity import Identity
from worker.loop import Loop
from worker.loops.scheduler import Scheduler
from worker.slots import Slots

log = structlog.get_logger()

_STOP_SECONDS = 5.0
"""Time to hand back what was stopped."""
_LOOK_AGAIN_SECONDS = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What a worker is made of, put together by the factory."""

    db: Database
    identity: Identity
    clock: ServerClock
    holdings: Holdings
    events: Events
    scheduler: Scheduler
    carriers: Carriers
    claiming: Sequence[Loop]
    """Stopped first: nothing new is begun."""
    keeping: Sequence[Loop]
    """Stopped last: leases are extended and lost tasks taken back while others drain."""
    slots: Sequence[Slots]


class Runner:
    """Runs one worker until it is told to stop."""

    def __init__(self, parts: Parts, *, drain_seconds: float) -> None:
        self._parts, self._drain_seconds = parts, drain_seconds
        self._stop = asyncio.Event()
        self._hurry = asyncio.Event()

    def stop(self) -> None:
        """Drain; a second call hurries."""
        if self._stop.is_set():
            self._hurry.set()
        self._stop.set()

    async def run(self, group: asyncio.TaskGroup) -> None:
        """Live from registration to leave; `group` also carries the attempts."""
        parts = self._parts
        reach("worker.opened")
        await self._register()
        background = [
            group.create_task(loop.run(), name=loop.name) for loop in (*parts.claiming, *parts.keeping)
        ]
        background.append(group.create_task(self._listen(), name="events"))
        parts.scheduler.start()
        log.info("worker.started", worker_id=parts.identity.boot_id, slots=parts.slots[0].count)
        await self._stop.wait()
        log.info("worker.draining", worker_id=parts.identity.boot_id, tasks=len(parts.holdings))
        await self._drain(group)
        await parts.carriers.end(_STOP_SECONDS)
        await parts.scheduler.stop(_STOP_SECONDS)
        for loop in parts.keeping:
            loop.stop()
        for task in background:
            task.cancel()
        await asyncio.wait(background, timeout=_STOP_SECONDS)
        with suppress(Unavailable):
            await close_worker(parts.db, parts.identity.boot_id)
        log.info("worker.stopped", worker_id=parts.identity.boot_id)

    async def _register(self) -> None:
        """Add this worker's row, however long the database takes to come."""
        identity = self._parts.identity
        delay_seconds = 0.1
        while not self._stop.is_set():
            try:
                self._parts.clock.set(await self._parts.db.now())
                await register_worker(self._parts.db, identity.row(), lease_seconds=identity.lease_seconds)
            except Unavailable as error:
                log.warning("worker.not_registered", code=error.code)
                await asyncio.sleep(delay_seconds)
                delay_seconds = min(2.0, delay_seconds * 2)
            else:
                identity.beat()
                return

    async def _listen(self) -> None:
        """Hear cancellations at once; what is missed comes with the next heartbeat."""
        async with self._parts.events.subscribe() as events:
            async for event in events:
                if event.kind is EventKind.CANCEL:
                    self._parts.holdings.cancel(event.id, event.attempt)

    async def _drain(self, group: asyncio.TaskGroup) -> None:
        """Claim no more, let what runs end within the grace, and hand back the rest at no cost."""
        for loop in self._parts.claiming:
            loop.stop()
        for slots in self._parts.slots:
            slots.close()
        idle = group.create_task(self._wait_idle())
        hurry = group.create_task(self._hurry.wait())
        await asyncio.wait({idle, hurry}, timeout=self._drain_seconds, return_when=asyncio.FIRST_COMPLETED)
        hurry.cancel()
        with suppress(TimeoutError):
            async with asyncio.timeout(_STOP_SECONDS):
                await self._hand_back(idle)
        idle.cancel()

    async def _hand_back(self, idle: asyncio.Task[None]) -> None:
        """Stop what is held, and what a claim that was under way brings."""
        while not idle.done():
            for attempt in self._parts.holdings:
                attempt.stop(StopReason.DRAINED)
            await asyncio.wait({idle}, timeout=_LOOK_AGAIN_SECONDS)

    async def _wait_idle(self) -> None:
        for slots in self._parts.slots:
            await slots.wait_idle()
