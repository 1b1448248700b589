"""Where rows stand, as far as the plan must know it: light pages of waiting rows, and rows by their ids.

No pictures, no bodies, no urls: a hundred thousand rows pass through here when Redis was lost.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import ColumnElement, Row, Select, Table, and_, func, or_, select

from core.domain.delivery import DeliveryStatus
from core.domain.routing import Member, QueueName, queue_of
from core.domain.task import TaskStatus
from core.store.engine import Database
from core.store.tables import delivery, task
from core.store.types import server_now

SETTLED_SECONDS = 3.0
"""A row that changed less than this ago may not be in Redis yet, and need not be."""


class Phase(StrEnum):
    """What may be done with a row."""

    WAITING = "waiting"
    RUNNING = "running"
    OVER = "over"


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """A row as the plan sees it."""

    member: Member
    """The entry of its next attempt; the current one is one less."""
    queue: QueueName
    phase: Phase
    next_attempt_at: datetime | None
    updated_at: datetime

    @property
    def due_at(self) -> datetime:
        """From when on it might have run."""
        return self.next_attempt_at or self.updated_at


_TASK_PHASES = {TaskStatus.PENDING: Phase.WAITING, TaskStatus.IN_PROGRESS: Phase.RUNNING}
_DELIVERY_PHASES = {DeliveryStatus.PENDING: Phase.WAITING, DeliveryStatus.SENDING: Phase.RUNNING}


def _of_task(row: Row[Any]) -> Standing:
    return Standing(
        member=Member(
            id=row.id,
            attempt=row.attempt + 1,
            priority=row.priority,
            cost=row.cost,
            flow=row.system_code,
        ),
        queue=queue_of(crashes=row.crashes),
        phase=_TASK_PHASES.get(TaskStatus(row.status), Phase.OVER),
        next_attempt_at=row.next_attempt_at,
        updated_at=row.updated_at,
    )


def _of_delivery(row: Row[Any]) -> Standing:
    return Standing(
        member=Member(id=row.id, attempt=row.attempt + 1, priority=0, cost=1, flow=row.flow),
        queue=QueueName.DELIVERY,
        phase=_DELIVERY_PHASES.get(DeliveryStatus(row.status), Phase.OVER),
        next_attempt_at=row.next_attempt_at,
        updated_at=row.updated_at,
    )


@dataclass(frozen=True, slots=True)
class Kind:
    """Tasks or deliveries: where their rows are and how one is read."""

    table: Table
    own_columns: tuple[str, ...]
    read: Callable[[Row[Any]], Standing]

    def select(self) -> Select[Any]:
        """The columns that a standing needs."""
        names = ("id", "status", "attempt", "next_attempt_at", "updated_at", *self.own_columns)
        return select(*(self.table.c[name] for name in names))


TASKS = Kind(task, ("priority", "cost", "system_code", "crashes"), _of_task)
DELIVERIES = Kind(delivery, ("flow",), _of_delivery)


def kind_of(queue: QueueName) -> Kind:
    """What a queue's entries stand for."""
    return DELIVERIES if queue is QueueName.DELIVERY else TASKS


def _oldest(kind: Kind) -> ColumnElement[int]:
    """The first that waits. A planner that walks by id alone would pass all ended rows before it."""
    other = kind.table.alias()
    return select(func.min(other.c.id)).where(other.c.status == "pending").scalar_subquery()


async def waiting_page(
    db: Database,
    kind: Kind,
    *,
    after: Standing | None = None,
    changed_after: datetime | None = None,
    limit: int = 500,
) -> list[Standing]:
    """A page of waiting rows behind `after`: all, by id, or those changed lately, by that time."""
    columns = kind.table.c
    where: list[ColumnElement[bool]] = [columns.status == "pending"]
    if changed_after is None:
        order: tuple[Any, ...] = (columns.id,)
        where.append(columns.id > after.member.id if after is not None else columns.id >= _oldest(kind))
    else:
        order = (columns.updated_at, columns.id)
        where.append(columns.updated_at >= (after.updated_at if after else changed_after))
        where.append(columns.updated_at <= server_now(-SETTLED_SECONDS))
        if after is not None:
            behind = and_(columns.updated_at == after.updated_at, columns.id > after.member.id)
            where.append(or_(columns.updated_at > after.updated_at, behind))
    async with db.read() as connection:
        rows = await connection.execute(kind.select().where(*where).order_by(*order).limit(limit))
        return [kind.read(row) for row in rows]


async def standings(db: Database, kind: Kind, ids: Sequence[int]) -> dict[int, Standing]:
    """Where these rows stand; those that are not there are left out."""
    async with db.read() as connection:
        rows = await connection.execute(kind.select().where(kind.table.c.id.in_(ids)))
        return {row.id: kind.read(row) for row in rows}
