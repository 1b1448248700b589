"""Claims tasks while there are free slots, starts them and sends them on their way."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress

import structlog

from core.domain.message import TaskMessage
from core.domain.routing import QueueName
from core.domain.task import Task
from core.errors import DatabaseUnavailable, LeaseLost, QueueUnavailable
from core.plan import Plan
from core.queue.events import EventKind, Events
from core.queue.lease import Claim, Lease, Outcome, Settlement
from core.store.starts import Starter
from core.testpoints import reach
from worker.attempt import Attempt, Carriers, Holdings
from worker.execution import Execution
from worker.handover import event_of
from worker.identity import Identity
from worker.idle import wait_for_more
from worker.slots import Slots

log = structlog.get_logger()

_LINGER_SECONDS = 0.25


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
        carriers: Carriers,
        events: Events,
    ) -> None:
        self._plan, self._starter, self._execution = plan, starter, execution
        self._holdings, self._identity, self.slots, self._carriers = holdings, identity, slots, carriers
        self._events = events
        self.claimed: Callable[[QueueName, Claim], None] = lambda _queue, _claim: None
        """Called after every claim that was answered."""

    async def step(self) -> None:
        """Fill the free slots from queue `recognition`, then wait for a wake-up if nothing is left there.

        A worker that has enough to do waits a moment until a batch of its slots is free: tasks that
        are claimed together share one claim and one transaction.
        """
        await self.slots.wait_for_batch(_LINGER_SECONDS)
        count = await self.slots.take_free()
        claim = await self._fill(count)
        if len(claim.leases) < count:
            await wait_for_more(self._plan.queues.recognition, claim, self.slots, self._identity)

    async def fill(self) -> None:
        """Offer the slots that are free now to queue `recognition`, once."""
        count = self.slots.take_at_once()
        if count > 0:
            await self._fill(count)

    async def _fill(self, count: int) -> Claim:
        claim, attempts = await self.claim(QueueName.RECOGNITION, count)
        for attempt in attempts:
            self._carriers.start(self.carry(attempt))
        await self.announce(attempts)
        return claim

    async def claim(self, name: QueueName, count: int) -> tuple[Claim, list[Attempt]]:
        """Claim up to `count` entries of a queue and start those whose rows allow it.

        `count` slots are taken already; those that are not needed are given back.
        """
        queue, token = self._plan.queues.of(name), self._identity.next_token()
        attempts: list[Attempt] = []
        try:
            with self.slots.paced():
                self._identity.refuse_unless_fresh()
                claim = await queue.claim(token, int(self._identity.lease_seconds * 1000), count)
                self.claimed(name, claim)
                if claim.leases:
                    reach("claim.answered")
                    attempts = await self._start(name, token, claim.leases)
        except BaseException:
            # Nobody carries what was begun: unknown to this worker, it goes back with the next heartbeat.
            self._holdings.forget_claim(token)
            raise
        finally:
            self.slots.give_back(count - len(attempts))
        return claim, attempts

    async def announce(self, attempts: Sequence[Attempt]) -> None:
        """Tell whoever listens that attempts have begun, all in one call."""
        with suppress(QueueUnavailable):
            await self._events.publish(*(event_of(EventKind.STARTED, attempt.task) for attempt in attempts))

    async def carry(self, attempt: Attempt) -> None:
        """Run an attempt to its end and free its slot."""
        try:
            await self._execution.run(attempt)
        finally:
            self._holdings.forget(attempt.task.id, attempt.token)
            self.slots.give_back()

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


def _known(leases: Sequence[Lease]) -> dict[int, Task]:
    """The tasks that came with a message; of one that cannot be read the row is asked instead."""
    known = {}
    for lease in leases:
        if lease.message is not None:
            try:
                known[lease.member.id] = TaskMessage.from_json(lease.message).to_task()
            except ValueError:
                log.warning("message.not_understood", task_id=lease.member.id)
    return known
