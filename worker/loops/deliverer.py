"""Sends callbacks, apart from recognition: a slow receiver holds up neither it nor another receiver."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from time import monotonic

import structlog

from core import metrics
from core.domain.delivery import Delivery, DeliveryStatus, DeliveryTry
from core.domain.retry import TryOutcome
from core.domain.routing import member_of_delivery
from core.errors import DatabaseUnavailable, QueueUnavailable
from core.ids import Ids
from core.plan import Plan
from core.queue.lease import Claim, FlowLimit, Lease, Outcome, Settlement
from core.store.deliveries import put_back_delivery, record_try, start_deliveries
from core.store.engine import Database
from core.store.systems import Systems
from worker.breakers import Breakers
from worker.callback import Caller
from worker.identity import Identity
from worker.slots import Slots

log = structlog.get_logger()

_IDLE_SECONDS = 5.0
_SECRETS_KEPT_SECONDS = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class DelivererSettings:
    """Bounds of sending."""

    timeout_seconds: float
    per_host: int


class Deliverer:
    """Claims deliveries while there are free slots and sends each once."""

    def __init__(
        self,
        db: Database,
        ids: Ids,
        plan: Plan,
        systems: Systems,
        caller: Caller,
        breakers: Breakers,
        identity: Identity,
        slots: Slots,
        group: asyncio.TaskGroup,
        settings: DelivererSettings,
    ) -> None:
        self._db, self._ids, self._plan, self._systems = db, ids, plan, systems
        self._caller, self._breakers, self._identity = caller, breakers, identity
        self.slots, self._group, self._settings = slots, group, settings
        self._queue = plan.queues.delivery
        self._secrets: dict[str, tuple[float, list[bytes]]] = {}
        self._leases: dict[int, Lease] = {}

    async def step(self) -> None:
        """Fill the free slots, or wait for a wake-up."""
        free = await self.slots.wait_free()
        token = self._identity.next_token()
        claim = await self._queue.claim(token, int(self._identity.lease_seconds * 1000), free)
        if not claim.leases:
            await self._wait(claim)
            return
        for lease, sent in await self._start(token, claim.leases):
            self.slots.take()
            self._leases[sent.id] = lease
            self._group.create_task(self._carry(lease, sent))

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
        stale = [lease for lease in leases if lease.member.id not in by_id]
        await self._settle([Settlement(member=s.member, token=s.token, outcome=Outcome.ACK) for s in stale])
        return [(lease, by_id[lease.member.id]) for lease in leases if lease.member.id in by_id]

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
            await self.slots.give_back()

    async def _send(self, lease: Lease, sent: Delivery) -> None:
        made, outcome = await self._caller.call(sent, await self._secrets_of(sent.system_code))
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
        await self._settle([_settlement(lease, after, outcome)])
        await self._judge_host(sent, outcome)

    async def _record(
        self, lease: Lease, sent: Delivery, made: DeliveryTry, outcome: TryOutcome
    ) -> Delivery | None:
        """Write what came of the try; while the database is away it is held, as long as it takes."""
        delay_seconds = 0.05
        while True:
            try:
                log_id = (await self._ids.take())[0]
                return await record_try(
                    self._db, sent, lease.token, made=made, outcome=outcome, log_id=log_id
                )
            except DatabaseUnavailable:
                await asyncio.sleep(random.uniform(0, delay_seconds))
                delay_seconds = min(2.0, delay_seconds * 2)

    async def _judge_host(self, sent: Delivery, outcome: TryOutcome) -> None:
        """Leave a host alone that fails again and again; a probe goes to it when the pause is over."""
        is_up = outcome.status in (DeliveryStatus.DELIVERED, DeliveryStatus.REFUSED)
        pause = None if is_up else self._breakers.failed(sent.flow)
        if is_up and not self._breakers.succeeded(sent.flow):
            return
        if not is_up and pause is None:
            return
        hold_ms = 0 if pause is None else int(pause * 1000)
        limit = FlowLimit(flow=sent.flow, max_running=self._settings.per_host, hold_ms=hold_ms)
        with suppress(QueueUnavailable):
            await self._queue.set_limits([limit])
        log.warning("host.paused" if pause else "host.resumed", host=sent.host, seconds=pause)

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

    async def _wait(self, claim: Claim) -> None:
        due = claim.next_due_seconds
        seconds = _IDLE_SECONDS if due is None or claim.paused else min(_IDLE_SECONDS, due)
        await self._queue.wait(max(0.01, seconds))


def _release(lease: Lease) -> Settlement:
    return Settlement(
        member=lease.member, token=lease.token, outcome=Outcome.RELEASE, next_member=lease.member
    )


def _settlement(lease: Lease, after: Delivery | None, outcome: TryOutcome) -> Settlement:
    if after is None or after.status is not DeliveryStatus.PENDING:
        return Settlement(member=lease.member, token=lease.token, outcome=Outcome.ACK)
    return Settlement(
        member=lease.member,
        token=lease.token,
        outcome=Outcome.RETRY,
        next_member=member_of_delivery(after),
        delay_ms=int(outcome.delay_seconds * 1000),
    )
