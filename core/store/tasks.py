"""Reading tasks."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Select, exists, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from core.domain.recognition import Recognition
from core.domain.task import Task, TaskStatus
from core.store.engine import Database
from core.store.rows import row_to_recognition, row_to_task
from core.store.tables import recognition, task, task_event


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskFilter:
    """Which tasks; absent fields do not restrict."""

    system_code: str | None = None
    ids: tuple[int, ...] | None = None
    statuses: tuple[TaskStatus, ...] = ()
    business_id: str | None = None
    camera_id: str | None = None
    prompt: str | None = None
    client_id: str | None = None
    created_after: datetime | None = None
    created_before: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryLine:
    """One change of a task's state."""

    at: datetime
    from_status: TaskStatus | None
    to_status: TaskStatus
    attempt: int
    why: str


async def load_tasks(
    connection: AsyncConnection, *where: ColumnElement[bool], limit: int | None = None
) -> list[Task]:
    """Tasks with their pictures, in the order of their ids."""
    return await _with_pictures(connection, select(task).where(*where).order_by(task.c.id).limit(limit))


async def get_task(db: Database, task_id: int, *, system_code: str | None = None) -> Task | None:
    """One task of a system, or of any; None when it is not there."""
    found = await get_tasks(db, [task_id], system_code=system_code)
    return found[0] if found else None


async def get_tasks(db: Database, task_ids: Sequence[int], *, system_code: str | None = None) -> list[Task]:
    """Tasks of a system, or of any, in the order of their ids; absent ones are left out."""
    async with db.read() as connection:
        return await load_tasks(connection, task.c.id.in_(task_ids), *_of(system_code))


async def find_by_client_id(db: Database, client_id: str, *, system_code: str) -> Task | None:
    """The task that its caller created under `client_id`."""
    async with db.read() as connection:
        found = await load_tasks(connection, task.c.client_id == client_id, *_of(system_code))
    return found[0] if found else None


async def get_by_recognition(
    db: Database, recognition_id: int, *, system_code: str | None = None
) -> Task | None:
    """The task that a picture belongs to."""
    owner = select(recognition.c.task_id).where(recognition.c.id == recognition_id).scalar_subquery()
    async with db.read() as connection:
        found = await load_tasks(connection, task.c.id == owner, *_of(system_code))
    return found[0] if found else None


async def list_tasks(
    db: Database, wanted: TaskFilter, *, page_size: int, before_id: int | None = None
) -> list[Task]:
    """Tasks newest first, those with an id below `before_id`."""
    statement = select(task).where(*conditions(wanted)).order_by(task.c.id.desc()).limit(page_size)
    if before_id is not None:
        statement = statement.where(task.c.id < before_id)
    async with db.read() as connection:
        return await _with_pictures(connection, statement)


async def read_history(db: Database, task_id: int) -> list[HistoryLine]:
    """How a task came to its state, oldest first."""
    statement = select(task_event).where(task_event.c.task_id == task_id)
    # By the database's clock first: ids come from many processes with clocks of their own.
    statement = statement.order_by(task_event.c.at, task_event.c.id)
    async with db.read() as connection:
        rows = (await connection.execute(statement)).all()
    return [
        HistoryLine(
            at=row.at,
            from_status=None if row.from_status is None else TaskStatus(row.from_status),
            to_status=TaskStatus(row.to_status),
            attempt=row.attempt,
            why=row.why,
        )
        for row in rows
    ]


async def count_waiting(db: Database, *, system_code: str | None = None) -> int:
    """How many tasks are pending."""
    statement = select(func.count()).where(task.c.status == TaskStatus.PENDING, *_of(system_code))
    async with db.read() as connection:
        return int((await connection.execute(statement)).scalar_one())


async def oldest_waiting_id(db: Database) -> int | None:
    """The oldest task that waits; its id tells since when."""
    statement = select(func.min(task.c.id)).where(task.c.status == TaskStatus.PENDING)
    async with db.read() as connection:
        found: int | None = (await connection.execute(statement)).scalar_one()
    return found


def _of(system_code: str | None) -> tuple[ColumnElement[bool], ...]:
    return () if system_code is None else (task.c.system_code == system_code,)


def conditions(wanted: TaskFilter) -> Iterable[ColumnElement[bool]]:
    """The filter as SQL, for statements on table task."""
    yield from _of(wanted.system_code)
    if wanted.ids is not None:
        yield task.c.id.in_(wanted.ids)
    for column in (task.c.business_id, task.c.prompt, task.c.client_id):
        value = getattr(wanted, column.name)
        if value is not None:
            yield column == value
    if wanted.statuses:
        yield task.c.status.in_([status.value for status in wanted.statuses])
    if wanted.created_after is not None:
        yield task.c.created_at >= wanted.created_after
    if wanted.created_before is not None:
        yield task.c.created_at < wanted.created_before
    if wanted.camera_id is not None:
        of_task = (recognition.c.task_id == task.c.id) & (recognition.c.camera_id == wanted.camera_id)
        yield exists(select(recognition.c.id).where(of_task))


async def _with_pictures(connection: AsyncConnection, statement: Select[Any]) -> list[Task]:
    rows = (await connection.execute(statement)).all()
    if not rows:
        return []
    pictures: dict[int, list[Recognition]] = defaultdict(list)
    of_these = (
        select(recognition)
        .where(recognition.c.task_id.in_([row.id for row in rows]))
        .order_by(recognition.c.task_id, recognition.c.position)
    )
    for row in await connection.execute(of_these):
        pictures[row.task_id].append(row_to_recognition(row))
    return [row_to_task(row, tuple(pictures[row.id])) for row in rows]
