"""Deliveries: starting a try, recording what came of it, taking back lost ones, reading."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial

from sqlalchemy import ColumnElement, and_, exists, insert, or_, select, tuple_, update
from sqlalchemy.ext.asyncio import AsyncConnection

from core.domain.delivery import Delivery, DeliveryStatus, DeliveryTry
from core.domain.retry import TryOutcome
from core.domain.routing import Member
from core.store.engine import Database, now
from core.store.rows import row_to_delivery
from core.store.tables import delivery, delivery_attempt, worker
from core.store.types import server_now
from core.store.upkeep import DEADLINE_GRACE_SECONDS


async def start_deliveries(
    db: Database, *, worker_id: str, token: str, members: Sequence[Member], timeout_seconds: float
) -> list[Delivery]:
    """Start the tries that `members` name, those that still may; answers the ones won."""
    wanted = [(member.id, member.attempt - 1) for member in members]
    may_start = and_(
        delivery.c.id.in_([delivery_id for delivery_id, _ in wanted]),
        tuple_(delivery.c.id, delivery.c.attempt).in_(wanted),
        delivery.c.status == DeliveryStatus.PENDING,
        exists(select(worker.c.id).where(worker.c.id == worker_id, worker.c.closed_at.is_(None))),
    )
    begin = (
        update(delivery)
        .where(may_start)
        .values(
            status=DeliveryStatus.SENDING,
            attempt=delivery.c.attempt + 1,
            worker_id=worker_id,
            claim_token=token,
            deadline_at=server_now(timeout_seconds),
            next_attempt_at=None,
            updated_at=server_now(),
        )
    )
    mine = select(delivery).where(
        delivery.c.worker_id == worker_id,
        delivery.c.claim_token == token,
        delivery.c.status == DeliveryStatus.SENDING,
        delivery.c.id.in_([delivery_id for delivery_id, _ in wanted]),
    )

    async def work(connection: AsyncConnection) -> list[Delivery]:
        await connection.execute(begin)
        return [row_to_delivery(row) for row in await connection.execute(mine)]

    return await db.write(work)


async def record_try(
    db: Database, sent: Delivery, token: str, *, made: DeliveryTry, outcome: TryOutcome, log_id: int
) -> Delivery | None:
    """Write what came of a try; None when the row is another's now. Safe to send again."""

    async def work(connection: AsyncConnection) -> Delivery | None:
        at = await now(connection)
        after = _after(sent, outcome, at)
        if not await _settle(connection, after, token, at):
            logged = select(delivery_attempt.c.id).where(delivery_attempt.c.id == log_id)
            was_committed = (await connection.execute(logged)).first() is not None
            return after if was_committed else None
        await _log(connection, after, made, at, log_id)
        return after

    return await db.write(work)


def _after(sent: Delivery, outcome: TryOutcome, at: datetime) -> Delivery:
    return replace(
        sent,
        status=outcome.status,
        tries=sent.tries + 1,
        error_code=outcome.error_code,
        delivered_at=at if outcome.status is DeliveryStatus.DELIVERED else None,
        next_attempt_at=at + timedelta(seconds=outcome.delay_seconds) if outcome.delay_seconds > 0 else None,
    )


def _mine(sent: Delivery, token: str) -> tuple[ColumnElement[bool], ...]:
    return (
        delivery.c.id == sent.id,
        delivery.c.attempt == sent.attempt,
        delivery.c.status == DeliveryStatus.SENDING,
        delivery.c.claim_token == token,
    )


async def _settle(connection: AsyncConnection, after: Delivery, token: str, at: datetime) -> bool:
    changed = await connection.execute(
        update(delivery)
        .where(*_mine(after, token))
        .values(
            status=after.status,
            tries=after.tries,
            error_code=after.error_code,
            delivered_at=after.delivered_at,
            next_attempt_at=after.next_attempt_at,
            updated_at=at,
        )
    )
    return changed.rowcount == 1


async def _log(
    connection: AsyncConnection, after: Delivery, made: DeliveryTry, at: datetime, log_id: int
) -> None:
    await connection.execute(
        insert(delivery_attempt).values(
            id=log_id,
            delivery_id=after.id,
            attempt=after.tries,
            at=at,
            duration_ms=made.duration_ms,
            status_code=made.status_code,
            error_code=made.error_code,
            reply=made.reply[:1024] or None,
        )
    )


async def put_back_delivery(db: Database, sent: Delivery, token: str) -> bool:
    """Hand back a try that was not made (drained); it costs nothing."""
    statement = (
        update(delivery)
        .where(*_mine(sent, token))
        .values(status=DeliveryStatus.PENDING, updated_at=server_now())
    )

    async def work(connection: AsyncConnection) -> int:
        return (await connection.execute(statement)).rowcount

    return await db.write(work) == 1


def _is_lost() -> ColumnElement[bool]:
    closed = select(worker.c.id).where(worker.c.closed_at.is_not(None))
    overdue = delivery.c.deadline_at < server_now(-DEADLINE_GRACE_SECONDS)
    return and_(delivery.c.status == DeliveryStatus.SENDING, or_(delivery.c.worker_id.in_(closed), overdue))


async def take_back_lost_deliveries(db: Database, *, max_crashes: int, limit: int = 500) -> list[Delivery]:
    """Put deliveries of lost workers back; dead at `max_crashes`. The try that was lost is not counted."""
    async with db.read() as connection:
        rows = (await connection.execute(select(delivery).where(_is_lost()).limit(limit))).all()
    found = [row_to_delivery(row) for row in rows]
    return await db.write(partial(_take_back, found, max_crashes)) if found else []


async def _take_back(found: list[Delivery], max_crashes: int, connection: AsyncConnection) -> list[Delivery]:
    taken = []
    for before in found:
        crashes = before.crashes + 1
        status = DeliveryStatus.DEAD if crashes >= max_crashes else DeliveryStatus.PENDING
        changed = await connection.execute(
            update(delivery)
            .where(delivery.c.id == before.id, delivery.c.attempt == before.attempt, _is_lost())
            .values(status=status, crashes=crashes, updated_at=server_now())
        )
        if changed.rowcount == 1:
            taken.append(replace(before, status=status, crashes=crashes, next_attempt_at=None))
    return taken


async def pending_deliveries_page(
    db: Database, *, after_id: int = 0, changed_after: datetime | None = None, limit: int = 500
) -> list[Delivery]:
    """A page of pending deliveries by id; with `changed_after`, those changed since, 3 s ago at least."""
    where = [delivery.c.status == DeliveryStatus.PENDING, delivery.c.id > after_id]
    if changed_after is not None:
        where += [delivery.c.updated_at >= changed_after, delivery.c.updated_at <= server_now(-3.0)]
    statement = select(delivery).where(*where).order_by(delivery.c.id).limit(limit)
    async with db.read() as connection:
        return [row_to_delivery(row) for row in await connection.execute(statement)]
