"""Claims tasks while there are free slots, starts them and sends them on their way."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress

from core.domain.message import TaskMessage
from core.domain.routing import QueueName
from core.domain.task import Task
from core.errors import DatabaseUnavailable, LeaseLost, QueueUnavailable
from core.plan import Plan
from core.queue.lease import Claim, Lease, Outcome, Settlement
from core.store.starts import Starter
from worker.attempt import Attempt, Holdings
from worker.execution import Execution
from worker.identity import Identity
from worker.slots import Slots

_IDLE_SECONDS = 5.0


class Leaser:
    """Turns waiting entries into running attempts, as many as there are slots."""

    def __init__(
        self,
        plan: Plan,
        starter: Starter,
        execution: Execution,
        holdings: Holdings,
        identity: Identity,
        slots: Slots,
        group: asyncio.TaskGroup,
    ) -> None:
        self._plan, self._starter, self._execution = plan, starter, execution
        self._holdings, self._identity, self.slots, self._group = holdings, identity, slots, group
        self._filled = asyncio.Event()
        self.claimed: Callable[[QueueName, Claim], None] = lambda _queue, _claim: None
        """Called after every claim that was answered."""

    async def step(self) -> None:
        """Fill the free slots from queue `recognition`, or wait for a wake-up."""
        free = await self.slots.wait_free()
        claim, attempts = await self.claim(QueueName.RECOGNITION, free)
        for attempt in attempts:
            self._group.create_task(self.carry(attempt))
        self._filled.set()
        if not claim.leases:
            await self._wait(claim)

    async def wait_filled(self) -> None:
        """Wait until the free slots have been offered to queue `recognition` once more."""
        self._filled.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout(_IDLE_SECONDS):
                await self._filled.wait()

    async def claim(self, name: QueueName, count: int) -> tuple[Claim, list[Attempt]]:
        """Claim up to `count` entries of a queue, and start those whose rows allow it."""
        queue, token = self._plan.queues.of(name), self._identity.next_token()
        claim = await queue.claim(token, int(self._identity.lease_seconds * 1000), count)
        self.claimed(name, claim)
        return claim, await self._start(name, token, claim.leases) if claim.leases else []

    async def carry(self, attempt: Attempt) -> None:
        """Run an attempt to its end and free its slot."""
        try:
            await self._execution.run(attempt)
        finally:
            self._holdings.forget(attempt.task.id, attempt.token)
            await self.slots.give_back()

    async def _start(self, name: QueueName, token: str, leases: Sequence[Lease]) -> list[Attempt]:
        for lease in leases:
            self._holdings.note(lease.member.id, token)
        try:
            starts = await self._starter.start(
                [lease.member for lease in leases],
                _known(leases),
                worker_id=self._identity.boot_id,
                token=token,
            )
        except DatabaseUnavailable:
            await self._give_up(name, token, leases, Outcome.RELEASE)
            raise
        started = {task.id: task for task in starts.tasks}
        lost = [lease for lease in leases if lease.member.id not in started]
        # A closed worker starts nothing; what it claimed is for others. Else the entry is stale.
        await self._give_up(name, token, lost, Outcome.ACK if starts.is_open else Outcome.RELEASE)
        attempts = [
            self._begin(name, lease, started[lease.member.id]) for lease in leases if lease not in lost
        ]
        await self._plan.enqueue_deliveries(starts.deliveries)
        if not starts.is_open:
            raise LeaseLost("This worker was declared dead; it registers anew.")
        return attempts

    def _begin(self, name: QueueName, lease: Lease, task: Task) -> Attempt:
        attempt = Attempt(task=task, lease=lease, queue=name)
        self._holdings.hold(attempt)
        self.slots.take()
        return attempt

    async def _give_up(self, name: QueueName, token: str, leases: Sequence[Lease], outcome: Outcome) -> None:
        """Let go of leases that lead to no attempt."""
        for lease in leases:
            self._holdings.forget(lease.member.id, token)
        settlements = [
            Settlement(
                member=lease.member,
                token=token,
                outcome=outcome,
                next_member=None if outcome is Outcome.ACK else lease.member,
                message=lease.message,
            )
            for lease in leases
        ]
        with suppress(QueueUnavailable):
            await self._plan.queues.of(name).settle(settlements)

    async def _wait(self, claim: Claim) -> None:
        due = claim.next_due_seconds
        seconds = _IDLE_SECONDS if due is None or claim.paused else min(_IDLE_SECONDS, due)
        await self._plan.queues.recognition.wait(max(0.01, seconds))


def _known(leases: Sequence[Lease]) -> dict[int, Task]:
    """The tasks that came with their message."""
    return {
        lease.member.id: TaskMessage.from_json(lease.message).to_task()
        for lease in leases
        if lease.message is not None
    }
