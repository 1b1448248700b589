"""Deliveries and their tries as callers see them; and sending them again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from core.domain.delivery import Delivery, DeliveryStatus
from core.errors import NotFound, TaskNotFinal
from core.store.engine import Database
from core.store.rows import row_to_delivery
from core.store.tables import delivery, delivery_attempt
from core.store.types import server_now


@dataclass(frozen=True, slots=True, kw_only=True)
class LoggedTry:
    """One POST of a delivery, as its row tells it."""

    attempt: int
    at: datetime
    duration_ms: float
    status_code: int | None
    error_code: str | None
    reply: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryFilter:
    """Which deliveries; absent fields do not restrict."""

    system_code: str | None = None
    task_id: int | None = None
    status: DeliveryStatus | None = None
    host: str | None = None


async def get_delivery(
    db: Database, delivery_id: int, *, system_code: str | None = None
) -> tuple[Delivery, list[LoggedTry]]:
    """One delivery and its tries; raises NotFound."""
    found = await list_deliveries(
        db, DeliveryFilter(system_code=system_code), page_size=1, before_id=delivery_id + 1
    )
    if not found or found[0].id != delivery_id:
        raise NotFound("There is no such delivery.")
    log = select(delivery_attempt).where(delivery_attempt.c.delivery_id == delivery_id)
    async with db.read() as connection:
        rows = (await connection.execute(log.order_by(delivery_attempt.c.id))).all()
    names = ("attempt", "at", "duration_ms", "status_code", "error_code", "reply")
    return found[0], [LoggedTry(**{name: getattr(row, name) for name in names}) for row in rows]


async def get_deliveries(db: Database, delivery_ids: Sequence[int]) -> list[Delivery]:
    """Deliveries by their ids; absent ones are left out."""
    statement = select(delivery).where(delivery.c.id.in_(delivery_ids)).order_by(delivery.c.id)
    async with db.read() as connection:
        return [row_to_delivery(row) for row in await connection.execute(statement)]


async def list_deliveries(
    db: Database, wanted: DeliveryFilter, *, page_size: int, before_id: int | None = None
) -> list[Delivery]:
    """Deliveries newest first, those with an id below `before_id`."""
    names = ("system_code", "task_id", "status", "host")
    where = [delivery.c[name] == getattr(wanted, name) for name in names if getattr(wanted, name) is not None]
    if before_id is not None:
        where.append(delivery.c.id < before_id)
    statement = select(delivery).where(*where).order_by(delivery.c.id.desc()).limit(page_size)
    async with db.read() as connection:
        return [row_to_delivery(row) for row in await connection.execute(statement)]


async def replay_delivery(db: Database, delivery_id: int, *, system_code: str | None = None) -> Delivery:
    """Send an ended delivery again: same id, same bytes, a fresh schedule.

    Raises:
        NotFound: no such delivery.
        TaskNotFinal: it is still being tried.
    """
    before, _ = await get_delivery(db, delivery_id, system_code=system_code)
    final = [status.value for status in DeliveryStatus if status.is_final]
    statement = (
        update(delivery)
        .where(delivery.c.id == delivery_id, delivery.c.status.in_(final))
        .values(
            status=DeliveryStatus.PENDING,
            tries=0,
            crashes=0,
            next_attempt_at=None,
            delivered_at=None,
            updated_at=server_now(),
        )
    )

    async def work(connection: AsyncConnection) -> int:
        return (await connection.execute(statement)).rowcount

    if await db.write(work) != 1:
        raise TaskNotFinal("The delivery is still being tried.")
    return replace(
        before, status=DeliveryStatus.PENDING, tries=0, crashes=0, next_attempt_at=None, delivered_at=None
    )
