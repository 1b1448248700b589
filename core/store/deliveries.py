"""Deliveries: starting tries, handing them back, taking back lost ones, what is pending. See tries.py."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from sqlalchemy import (
    BindParameter,
    ColumnElement,
    Float,
    and_,
    bindparam,
    exists,
    or_,
    select,
    tuple_,
    update,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from core.domain.delivery import Delivery, DeliveryStatus
from core.domain.routing import Member
from core.store.engine import Database, write_again
from core.store.rows import row_to_delivery
from core.store.tables import delivery, worker
from core.store.types import server_now
from core.store.upkeep import DEADLINE_GRACE_SECONDS

_CLAIMED_IDS: BindParameter[Sequence[int]] = bindparam("claimed_ids", expanding=True)
# Built once: building a statement costs more than running it.
_START = (
    update(delivery)
    .where(
        delivery.c.id.in_(_CLAIMED_IDS),
        tuple_(delivery.c.id, delivery.c.attempt).in_(bindparam("claimed_attempts", expanding=True)),
        delivery.c.status == DeliveryStatus.PENDING,
        exists(
            select(worker.c.id).where(worker.c.id == bindparam("my_worker"), worker.c.closed_at.is_(None))
        ),
    )
    .values(
        status=DeliveryStatus.SENDING,
        attempt=delivery.c.attempt + 1,
        worker_id=bindparam("my_worker"),
        claim_token=bindparam("my_token"),
        deadline_at=server_now(bindparam("may_take_seconds", type_=Float())),
        next_attempt_at=None,
        updated_at=server_now(),
    )
)
_STARTED = select(delivery).where(
    delivery.c.worker_id == bindparam("my_worker"),
    delivery.c.claim_token == bindparam("my_token"),
    delivery.c.status == DeliveryStatus.SENDING,
    delivery.c.id.in_(_CLAIMED_IDS),
)
# Whoever is not the row's own claim may write nothing.
MINE = update(delivery).where(
    delivery.c.id == bindparam("my_delivery"),
    delivery.c.attempt == bindparam("my_attempt"),
    delivery.c.status == DeliveryStatus.SENDING,
    delivery.c.claim_token == bindparam("my_token"),
)
_PUT_BACK = MINE.values(status=DeliveryStatus.PENDING, updated_at=server_now())


async def start_deliveries(
    db: Database, *, worker_id: str, token: str, members: Sequence[Member], timeout_seconds: float
) -> list[Delivery]:
    """Start the tries that `members` name, those that still may; answers the ones won."""
    claim = {
        "claimed_ids": [member.id for member in members],
        "my_worker": worker_id,
        "my_token": token,
    }
    before = [(member.id, member.attempt - 1) for member in members]
    started = claim | {"claimed_attempts": before, "may_take_seconds": timeout_seconds}

    async def work(connection: AsyncConnection) -> list[Delivery]:
        await connection.execute(_START, started)
        return [row_to_delivery(row) for row in await connection.execute(_STARTED, claim)]

    return await write_again(db, work)


def mine(sent: Delivery, token: str) -> dict[str, Any]:
    """The parameters of `MINE`."""
    return {"my_delivery": sent.id, "my_attempt": sent.attempt, "my_token": token}


async def put_back_delivery(db: Database, sent: Delivery, token: str) -> bool:
    """Hand back a try that was not made (drained); it costs nothing."""

    async def work(connection: AsyncConnection) -> int:
        return (await connection.execute(_PUT_BACK, mine(sent, token))).rowcount

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
