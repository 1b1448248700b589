"""Sends callbacks, apart from recognition: a slow receiver holds up neither it nor another receiver."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from time import monotonic

import structlog

from core import metrics
from core.domain.delivery import Delivery, DeliveryStatus, DeliveryTry
from core.domain.retry import TryOutcome
from core.domain.routing import QueueName, member_of_delivery
from core.errors import DatabaseUnavailable, LeaseLost, QueueUnavailable
from core.ids import Ids
from core.plan import Plan
from core.queue.breaker import Breaker
from core.queue.lease import Claim, Lease, Outcome, Settlement
from core.store.deliveries import put_back_delivery, start_deliveries
from core.store.delivery_log import get_deliveries
from core.store.engine import Database
from core.store.systems import Systems
from core.store.tries import TryRecord, TryRecorder
from worker.afterwards import Aftermath, Afterwards
from worker.attempt import Carriers
from worker.callback import Caller
from worker.identity import Identity
from worker.idle import wait_for_more
from worker.patience import patiently
from worker.slots import Slots

log = structlog.get_logger()

_SECRETS_KEPT_SECONDS = 5.0
_PACE_SECONDS = 0.1
"""Callbacks that come due one by one within this time share a claim and a transaction."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DelivererSettings:
    """Bounds of sending."""

    timeout_seconds: float


class Deliverer:
    """Claims deliveries while there are free slots and sends each once."""

    def __init__(
        self,
        db: Database,
        ids: Ids,
        recorder: TryRecorder,
        afterwards: Afterwards,
        plan: Plan,
        systems: Systems,
        caller: Caller,
        breaker: Breaker,
        identity: Identity,
        slots: Slots,
        carriers: Carriers,
        settings: DelivererSettings,
    ) -> None:
        self._db, self._ids, self._recorder, self._plan, self._systems = db, ids, recorder, plan, systems
        self._caller, self._breaker, self._identity = caller, breaker, identity
        self.slots, self._carriers, self._settings = slots, carriers, settings
        self._afterwards = afterwards
        self._queue = plan.queues.delivery
        self._secrets: dict[str, tuple[float, list[bytes]]] = {}
        self._leases: dict[int, Lease] = {}

    async def step(self) -> None:
        """Fill the free slots, then wait for a wake-up if nothing is left.

        The first callback after a pause is sent at once, and a claim that was filled is followed by
        the next at once; those that trickle in are taken together.
        """
        count = await self.slots.take_free()
        claimed_at = monotonic()
        claim = await self._fill(count)
        if len(claim.leases) == count:
            return
        await wait_for_more(self._queue, claim, self.slots, self._identity)
        if claim.leases:
            await asyncio.sleep(max(0.0, claimed_at + _PACE_SECONDS - monotonic()))

    async def fill(self) -> None:
        """Offer the slots that are free now to the queue, once."""
        count = self.slots.take_at_once()
        if count > 0:
            await self._fill(count)

    async def _fill(self, count: int) -> Claim:
        token = self._identity.next_token()
        started: list[tuple[Lease, Delivery]] = []
        try:
            with self.slots.paced():
                self._identity.refuse_unless_fresh()
                claim = await self._queue.claim(token, int(self._identity.lease_seconds * 1000), count)
                if claim.leases:
                    started = await self._start(token, claim.leases)
        finally:
            self.slots.give_back(count - len(started))
        for lease, sent in started:
            self._leases[sent.id] = lease
            self._carriers.start(self._carry(lease, sent))
        # Only now: should it fail, what has been started is on its way all the same.
        await self._give_up(claim.leases, {sent.id for _, sent in started})
        return claim

    async def extend(self) -> None:
        """Prolong the leases of what is being sent."""
        pairs = [(lease.member, lease.token) for lease in self._leases.values()]
        await self._queue.extend(int(self._identity.lease_seconds * 1000), pairs)

    async def _start(self, token: str, leases: Sequence[Lease]) -> list[tuple[Lease, Delivery]]:
        try:
            started = await start_deliveries(
                self._db,
                worker_id=self._identity.boot_id,
                token=token,
                members=[lease.member for lease in leases],
                timeout_seconds=self._settings.timeout_seconds + self._identity.lease_seconds,
            )
        except DatabaseUnavailable:
            await self._settle([_release(lease) for lease in leases])
            raise
        by_id = {sent.id: sent for sent in started}
        return [(lease, by_id[lease.member.id]) for lease in leases if lease.member.id in by_id]

    async def _give_up(self, leases: Sequence[Lease], started: Collection[int]) -> None:
        """Let go of leases that led to no try; one that still may start is for others."""
        lost = [lease for lease in leases if lease.member.id not in started]
        if not lost:
            return
        rows = {sent.id: sent for sent in await get_deliveries(self._db, [s.member.id for s in lost])}
        current = {lease for lease in lost if _may_start(lease, rows.get(lease.member.id))}
        await self._settle([_release(lease) if lease in current else _ack(lease) for lease in lost])
        if current:
            raise LeaseLost("This worker was declared dead; it registers anew.")

    async def _carry(self, lease: Lease, sent: Delivery) -> None:
        try:
            await self._send(lease, sent)
        except asyncio.CancelledError:
            with suppress(DatabaseUnavailable):
                await asyncio.shield(put_back_delivery(self._db, sent, lease.token))
            raise
        except Exception:
            # Its lease runs out and another try follows; the loop and the other deliveries go on.
            log.exception("delivery.broken", delivery_id=sent.id)
        finally:
            self._leases.pop(sent.id, None)
            self.slots.give_back()

    async def _send(self, lease: Lease, sent: Delivery) -> None:
        try:
            secrets = await patiently(partial(self._secrets_of, sent.system_code))
            made, outcome = await self._caller.call(sent, secrets)
        except Exception:
            # No secret that opens, for one: a failed try like any other, so that it is not for ever.
            log.exception("delivery.broken", delivery_id=sent.id)
            made, outcome = self._caller.broken(sent)
        after = await self._record(lease, sent, made, outcome)
        metrics.DELIVERIES.labels(outcome.status.value).inc()
        log.info(
            "delivery.attempted",
            delivery_id=sent.id,
            task_id=sent.task_id,
            type=sent.event,
            outcome=outcome.status.value,
            tries=sent.tries + 1,
            status_code=made.status_code,
            error=outcome.error_code,
            duration_ms=round(made.duration_ms),
            retry_in_seconds=round(outcome.delay_seconds, 1) or None,
        )
        # Before the lease ends, or the next one would be claimed for a host that is to be left alone.
        await self._judge_host(sent, outcome)
        ending = _settlement(lease, after, outcome)
        await self._afterwards.do(Aftermath(queue=QueueName.DELIVERY, settlement=ending))

    async def _record(
        self, lease: Lease, sent: Delivery, made: DeliveryTry, outcome: TryOutcome
    ) -> Delivery | None:
        """Write what came of the try; while the database is away it is held, as long as it takes."""
        log_id = (await patiently(self._ids.take))[0]
        entry = TryRecord(sent=sent, token=lease.token, made=made, outcome=outcome, log_id=log_id)
        return await patiently(partial(self._recorder.write, entry))

    async def _judge_host(self, sent: Delivery, outcome: TryOutcome) -> None:
        """Leave a host alone that fails again and again; a probe goes to it when the hold is over."""
        is_received = outcome.status in (DeliveryStatus.DELIVERED, DeliveryStatus.REFUSED)
        judge = self._breaker.succeeded if is_received else self._breaker.failed
        with suppress(QueueUnavailable):
            verdict = await judge(sent.flow)
            if verdict.hold_seconds is not None:
                log.warning("host.paused", host=sent.host, seconds=verdict.hold_seconds)
            elif verdict.freed:
                log.info("host.resumed", host=sent.host)

    async def _secrets_of(self, system_code: str) -> list[bytes]:
        known = self._secrets.get(system_code)
        if known is not None and monotonic() - known[0] < _SECRETS_KEPT_SECONDS:
            return known[1]
        secrets = await self._systems.secrets(system_code)
        self._secrets[system_code] = (monotonic(), secrets)
        return secrets

    async def _settle(self, settlements: Sequence[Settlement]) -> None:
        with suppress(QueueUnavailable):
            await self._queue.settle(settlements)


def _may_start(lease: Lease, row: Delivery | None) -> bool:
    return (
        row is not None and row.status is DeliveryStatus.PENDING and row.attempt == lease.member.attempt - 1
    )


def _ack(lease: Lease) -> Settlement:
    return Settlement(member=lease.member, token=lease.token, outcome=Outcome.ACK)


def _release(lease: Lease) -> Settlement:
    return Settlement(
        member=lease.member, token=lease.token, outcome=Outcome.RELEASE, next_member=lease.member
    )


def _settlement(lease: Lease, after: Delivery | None, outcome: TryOutcome) -> Settlement:
    if after is None or after.status is not DeliveryStatus.PENDING:
        return _ack(lease)
    return Settlement(
        member=lease.member,
        token=lease.token,
        outcome=Outcome.RETRY,
        next_member=member_of_delivery(after),
        delay_ms=int(outcome.delay_seconds * 1000),
    )
