"""Changes to many tasks at once: chosen by filter, made in bounded batches, each by the usual guards."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from enum import StrEnum
from functools import partial

from sqlalchemy import ColumnElement, and_, func, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from core.domain.promises import Promises
from core.domain.task import Task, TaskStatus
from core.errors import NotFound
from core.ids import Ids
from core.store.changes import (
    RETRYABLE,
    CancelKind,
    Cancelled,
    cancel_row,
    retried_line,
    retry_row,
)
from core.store.endings import Ledger, take_spare_ids
from core.store.engine import Database, now
from core.store.tables import task, task_event
from core.store.tasks import TaskFilter, conditions, load_tasks


class BulkChange(StrEnum):
    """What is done to each of many tasks."""

    CANCEL = "cancel"
    RETRY = "retry"


def _may(change: BulkChange) -> ColumnElement[bool]:
    """Which tasks a change can do something to; one that is being stopped needs no second request."""
    if change is BulkChange.RETRY:
        return task.c.status.in_(RETRYABLE)
    running = and_(task.c.status == TaskStatus.IN_PROGRESS, task.c.cancel_requested.is_(False))
    return or_(task.c.status == TaskStatus.PENDING, running)


async def count_changeable(db: Database, change: BulkChange, wanted: TaskFilter) -> int:
    """How many of the wanted tasks the change could be made to now."""
    statement = select(func.count()).select_from(task).where(*conditions(wanted), _may(change))
    async with db.read() as connection:
        return int((await connection.execute(statement)).scalar_one())


async def changeable_page(
    db: Database, change: BulkChange, wanted: TaskFilter, *, after_id: int, limit: int
) -> list[int]:
    """The ids above `after_id` of wanted tasks that the change could be made to now, oldest first."""
    where = (*conditions(wanted), _may(change), task.c.id > after_id)
    statement = select(task.c.id).where(*where).order_by(task.c.id).limit(limit)
    async with db.read() as connection:
        return list((await connection.execute(statement)).scalars())


async def cancel_tasks(
    db: Database, ids: Ids, promises: Promises, task_ids: Sequence[int]
) -> list[Cancelled]:
    """Cancel each in one transaction; answers those that it did something to."""
    spare = await take_spare_ids(ids, len(task_ids))
    return await db.write(partial(_cancel, promises, spare, task_ids))


async def _cancel(
    promises: Promises, spare: list[int], task_ids: Sequence[int], connection: AsyncConnection
) -> list[Cancelled]:
    ledger = Ledger(promises=promises, at=await now(connection), spare_ids=list(spare))
    met = []
    for before in await load_tasks(connection, task.c.id.in_(task_ids), _may(BulkChange.CANCEL)):
        with suppress(NotFound):  # it was erased meanwhile
            met.append(await cancel_row(connection, ledger, before))
    await ledger.write(connection)
    return [one for one in met if one.kind is not CancelKind.FINAL]


async def retry_tasks(db: Database, ids: Ids, task_ids: Sequence[int]) -> list[Task]:
    """Start a new series of each in one transaction; answers those that it did something to."""
    spare = await take_spare_ids(ids, len(task_ids))
    return await db.write(partial(_retry, spare, task_ids))


async def _retry(spare: list[int], task_ids: Sequence[int], connection: AsyncConnection) -> list[Task]:
    found = await load_tasks(connection, task.c.id.in_(task_ids), _may(BulkChange.RETRY))
    before = {one.id: one for one in found if await retry_row(connection, one)}
    if not before:
        return []
    after = await load_tasks(connection, task.c.id.in_(before))
    lines = [retried_line(line_id, before[one.id], one) for line_id, one in zip(spare, after, strict=False)]
    await connection.execute(task_event.insert(), lines)
    return after
