"""Deliveries and their tries as callers see them; and sending them again."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import Any

from sqlalchemy import ColumnElement, Row, func, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from core.domain.delivery import Delivery, DeliveryStatus
from core.errors import NotFound, TaskNotFinal
from core.store.engine import Database
from core.store.rows import row_to_delivery
from core.store.tables import delivery, delivery_attempt
from core.store.types import server_now

_IS_FINAL = delivery.c.status.in_([status.value for status in DeliveryStatus if status.is_final])


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
    ids: tuple[int, ...] | None = None
    task_id: int | None = None
    statuses: tuple[DeliveryStatus, ...] = ()
    host: str | None = None
    created_after: datetime | None = None
    created_before: datetime | None = None


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
    return found[0], [_logged(row) for row in rows]


async def get_deliveries(db: Database, delivery_ids: Sequence[int]) -> list[Delivery]:
    """Deliveries by their ids; absent ones are left out."""
    statement = select(delivery).where(delivery.c.id.in_(delivery_ids)).order_by(delivery.c.id)
    async with db.read() as connection:
        return [row_to_delivery(row) for row in await connection.execute(statement)]


async def list_deliveries(
    db: Database, wanted: DeliveryFilter, *, page_size: int, before_id: int | None = None
) -> list[Delivery]:
    """Deliveries newest first, those with an id below `before_id`."""
    where = list(_conditions(wanted))
    if before_id is not None:
        where.append(delivery.c.id < before_id)
    statement = select(delivery).where(*where).order_by(delivery.c.id.desc()).limit(page_size)
    async with db.read() as connection:
        return [row_to_delivery(row) for row in await connection.execute(statement)]


async def list_tries(db: Database, task_id: int) -> list[tuple[Delivery, list[LoggedTry]]]:
    """All deliveries of a task with their tries, oldest first."""
    of_task = select(delivery).where(delivery.c.task_id == task_id).order_by(delivery.c.id)
    tries: dict[int, list[LoggedTry]] = defaultdict(list)
    async with db.read() as connection:
        promised = [row_to_delivery(row) for row in await connection.execute(of_task)]
        log = select(delivery_attempt).where(
            delivery_attempt.c.delivery_id.in_([sent.id for sent in promised])
        )
        for row in await connection.execute(log.order_by(delivery_attempt.c.id)):
            tries[row.delivery_id].append(_logged(row))
    return [(sent, tries[sent.id]) for sent in promised]


def _logged(row: Row[Any]) -> LoggedTry:
    names = ("attempt", "at", "duration_ms", "status_code", "error_code", "reply")
    return LoggedTry(**{name: getattr(row, name) for name in names})


def _conditions(wanted: DeliveryFilter) -> Iterable[ColumnElement[bool]]:
    for column in (delivery.c.system_code, delivery.c.task_id, delivery.c.host):
        value = getattr(wanted, column.name)
        if value is not None:
            yield column == value
    if wanted.ids is not None:
        yield delivery.c.id.in_(wanted.ids)
    if wanted.statuses:
        yield delivery.c.status.in_([status.value for status in wanted.statuses])
    if wanted.created_after is not None:
        yield delivery.c.created_at >= wanted.created_after
    if wanted.created_before is not None:
        yield delivery.c.created_at < wanted.created_before


async def count_replayable(db: Database, wanted: DeliveryFilter) -> int:
    """How many of the wanted deliveries have ended and could be sent again."""
    statement = select(func.count()).select_from(delivery).where(*_conditions(wanted), _IS_FINAL)
    async with db.read() as connection:
        return int((await connection.execute(statement)).scalar_one())


async def replayable_page(db: Database, wanted: DeliveryFilter, *, after_id: int, limit: int) -> list[int]:
    """The ids above `after_id` of wanted deliveries that have ended, oldest first."""
    where = (*_conditions(wanted), _IS_FINAL, delivery.c.id > after_id)
    statement = select(delivery.c.id).where(*where).order_by(delivery.c.id).limit(limit)
    async with db.read() as connection:
        return list((await connection.execute(statement)).scalars())


async def replay_delivery(db: Database, delivery_id: int, *, system_code: str | None = None) -> Delivery:
    """Send an ended delivery again: same id, same bytes, a fresh schedule.

    Raises:
        NotFound: no such delivery.
        TaskNotFinal: it is still being tried.
    """
    await get_delivery(db, delivery_id, system_code=system_code)
    again = await replay_deliveries(db, [delivery_id])
    if not again:
        raise TaskNotFinal("The delivery is still being tried.")
    return again[0]


async def replay_deliveries(db: Database, delivery_ids: Sequence[int]) -> list[Delivery]:
    """Send those that have ended again, in one transaction; answers them as they are then."""
    return await db.write(partial(_replay, delivery_ids))


async def _replay(delivery_ids: Sequence[int], connection: AsyncConnection) -> list[Delivery]:
    # Locked, so that of two replays at once one counts.
    ended = select(delivery).where(delivery.c.id.in_(delivery_ids), _IS_FINAL).order_by(delivery.c.id)
    found = [row_to_delivery(row) for row in await connection.execute(ended.with_for_update())]
    afresh: dict[str, Any] = {
        "status": DeliveryStatus.PENDING,
        "tries": 0,
        "crashes": 0,
        "next_attempt_at": None,
        "delivered_at": None,
    }
    await connection.execute(
        update(delivery)
        .where(delivery.c.id.in_([sent.id for sent in found]))
        .values(**afresh, updated_at=server_now())
    )
    return [replace(sent, **afresh) for sent in found]
