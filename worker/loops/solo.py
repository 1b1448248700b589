"""Runs tasks that have lost a worker one at a time, alone, so that a poison one kills no neighbour."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from typing import Protocol

from core.domain.routing import QueueName
from core.errors import QueueUnavailable
from core.plan import Plan
from core.queue.inspect import QueueInspector
from core.queue.locks import NamedLock
from worker.identity import Identity
from worker.idle import IDLE_SECONDS
from worker.loops.leaser import Leaser
from worker.slots import Slots

_LOCKED_SECONDS = 1.0
"""Its holder may die of the task that it runs."""


class Filler(Protocol):
    """A loop whose hands are empty while a task runs alone."""

    slots: Slots

    async def fill(self) -> None:
        """Offer what is free to its queue, once."""


class Solo:
    """Empties this worker's hands, runs one task of queue `solo`, and goes on as before.

    One worker at a time holds the named lock; losing it is harmless, the rows decide.
    """

    def __init__(
        self,
        plan: Plan,
        leaser: Leaser,
        inspector: QueueInspector,
        fillers: Sequence[Filler],
        identity: Identity,
        group: asyncio.TaskGroup,
    ) -> None:
        self._plan, self._leaser, self._inspector = plan, leaser, inspector
        self._fillers, self._identity, self._group = fillers, identity, group
        solo = plan.queues.solo
        self._lock = NamedLock(
            solo.connections,
            "solo",
            ttl_seconds=identity.lease_seconds,
            namespace=solo.keys.namespace,
        )

    async def step(self) -> None:
        """Look for one task to run alone, or wait for a wake-up."""
        # Cut off from the database it would hold the lock, and all solo tasks, until its hands are empty.
        self._identity.refuse_unless_fresh()
        if not await self._has_work():
            if await self._plan.queues.solo.wait(IDLE_SECONDS) and not self._identity.is_fresh:
                await self._plan.queues.solo.wake()  # the token was for somebody who may claim
            return
        if not await self._lock.acquire():
            await self._plan.queues.solo.wait(_LOCKED_SECONDS)
            return
        keeper = self._group.create_task(self._keep_lock())
        try:
            await self._run_alone()
        finally:
            keeper.cancel()
            with suppress(QueueUnavailable):
                await self._lock.release()
        # The others have their turn before the next one empties these hands again.
        for filler in self._fillers:
            await filler.fill()

    async def _has_work(self) -> bool:
        stats = await self._inspector.stats()
        return not stats.paused and (stats.ready > 0 or stats.overdue > 0)

    async def _run_alone(self) -> None:
        for filler in self._fillers:
            filler.slots.set_gate(is_open=False)
        try:
            for filler in self._fillers:
                await filler.slots.wait_idle()
            if self._leaser.slots.is_over:
                return
            self._leaser.slots.take_one()
            _, attempts = await self._leaser.claim(QueueName.SOLO, 1)
            await self._leaser.announce(attempts)
            for attempt in attempts:
                await self._leaser.carry(attempt)
        finally:
            for filler in self._fillers:
                filler.slots.set_gate(is_open=True)

    async def _keep_lock(self) -> None:
        while True:
            await asyncio.sleep(self._identity.lease_seconds / 3)
            if not self._identity.is_fresh:
                continue
            with suppress(QueueUnavailable):
                await self._lock.extend()
