"""Attempts: starting them, and recording what became of them, each as compare-and-set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, and_, exists, func, or_, select, tuple_, update
from sqlalchemy.ext.asyncio import AsyncConnection

from core.domain.delivery import EventType
from core.domain.recognition import ErrorNote, Recognition
from core.domain.routing import Member
from core.domain.task import Task, TaskStatus
from core.store.endings import Ledger, end_row, ended
from core.store.rows import recognition_to_row
from core.store.tables import recognition, task, worker
from core.store.types import server_now

_CANCELLED = ErrorNote(code="cancelled_by_caller", message="Its caller cancelled the task.")
_PICTURE_COLUMNS = (
    "status", "media_key", "started_at", "completed_at", "error_code", "error_message", "image_width",
    "image_height", "image_channels", "objects", "counts", "areas", "total", "timings_ms",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    """What the row says of an attempt that has just begun."""

    task_id: int
    attempt: int
    failures: int
    crashes: int
    series: int
    started_at: datetime
    deadline_at: datetime
    is_first: bool
    """Whether it is the first start of this series."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """The attempt ended the task: completed, or failed with an error."""

    status: TaskStatus
    error: ErrorNote | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PutBack:
    """The attempt ended and another will follow; only a failed run costs budget."""

    delay_seconds: float = 0.0
    is_failure: bool = False
    why: str = "drained"


@dataclass(frozen=True, slots=True, kw_only=True)
class Stopped:
    """The attempt was stopped because its caller cancelled the task."""


End = Finished | PutBack | Stopped


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """What an attempt writes: pictures that ended since the last record, and perhaps its end."""

    task: Task
    """As started: attempt and claim token are the guard; all ended pictures are in it."""
    ended_pictures: tuple[Recognition, ...] = ()
    end: End | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """What came of a record: the task after it, or that the row is another's now."""

    won: bool
    task: Task


async def start_attempts(
    connection: AsyncConnection, *, worker_id: str, token: str, members: Sequence[Member]
) -> list[Started]:
    """Start the attempts that `members` name, those that still may; one statement for all.

    The claim token tells which were won, also when an earlier answer was lost.
    """
    wanted = [(member.id, member.attempt - 1) for member in members]
    may_start = and_(
        task.c.id.in_([task_id for task_id, _ in wanted]),
        tuple_(task.c.id, task.c.attempt).in_(wanted),
        task.c.status == TaskStatus.PENDING,
        task.c.cancel_requested.is_(False),
        or_(task.c.started_at.is_not(None), task.c.queue_expires_at > server_now()),
        exists(select(worker.c.id).where(worker.c.id == worker_id, worker.c.closed_at.is_(None))),
    )
    await connection.execute(
        update(task)
        .where(may_start)
        .values(
            status=TaskStatus.IN_PROGRESS,
            attempt=task.c.attempt + 1,
            worker_id=worker_id,
            claim_token=token,
            deadline_at=server_now(task.c.timeout_seconds),
            updated_at=server_now(),
            started_at=func.coalesce(task.c.started_at, server_now()),
            next_attempt_at=None,
            dedup_slot=None,
        )
    )
    columns = (task.c.id, task.c.attempt, task.c.failures, task.c.crashes, task.c.series)
    mine = (task.c.worker_id == worker_id, task.c.claim_token == token)
    rows = await connection.execute(
        select(*columns, task.c.started_at, task.c.deadline_at, task.c.updated_at).where(
            *mine, task.c.status == TaskStatus.IN_PROGRESS, task.c.id.in_([task_id for task_id, _ in wanted])
        )
    )
    return [
        Started(
            task_id=row.id,
            attempt=row.attempt,
            failures=row.failures,
            crashes=row.crashes,
            series=row.series,
            started_at=row.started_at,
            deadline_at=row.deadline_at,
            is_first=row.started_at == row.updated_at,
        )
        for row in rows
    ]


def note_starts(ledger: Ledger, tasks: Sequence[Task], first: set[int]) -> None:
    """Add history and `task.started` callbacks of attempts that began."""
    for begun in tasks:
        ledger.note(TaskStatus.PENDING, begun, "attempt started")
        if begun.id in first:
            ledger.promise(begun, EventType.STARTED)


async def record(connection: AsyncConnection, ledger: Ledger, entry: Record) -> Recorded:
    """Write one record if the row is still this attempt's."""
    mine = _mine(entry.task)
    if entry.end is None:
        touched = await connection.execute(update(task).where(*mine).values(updated_at=ledger.at))
        won, after, why = touched.rowcount == 1, entry.task, ""
    else:
        won, after, why = await _end(connection, ledger, entry.task, entry.end, mine)
    if not won:
        return Recorded(won=await _is_recorded(connection, entry), task=entry.task)
    await _write_pictures(connection, ledger, entry, after)
    if after.is_final:
        ledger.end(TaskStatus.IN_PROGRESS, after, why)
    elif entry.end is not None:
        ledger.note(TaskStatus.IN_PROGRESS, after, why)
    return Recorded(won=True, task=after)


def _mine(mine: Task) -> tuple[ColumnElement[bool], ...]:
    return (
        task.c.id == mine.id,
        task.c.attempt == mine.attempt,
        task.c.status == TaskStatus.IN_PROGRESS,
        task.c.claim_token == mine.claim_token,
    )


async def _end(
    connection: AsyncConnection, ledger: Ledger, mine: Task, end: End, guard: tuple[ColumnElement[bool], ...]
) -> tuple[bool, Task, str]:
    if isinstance(end, Finished):
        after = ended(mine, end.status, end.error, ledger.at)
        return await end_row(connection, after, ledger.at, *guard), after, "attempt ended"
    if isinstance(end, PutBack):
        after = _put_back(mine, end, ledger.at)
        if await _put_back_row(connection, after, ledger.at, guard):
            return True, after, end.why
    # Whoever would have put a task back ends it instead when its caller wants it stopped.
    after = ended(mine, TaskStatus.CANCELLED, _CANCELLED, ledger.at)
    won = await end_row(connection, after, ledger.at, *guard, task.c.cancel_requested.is_(True))
    return won, after, "stopped on request"


def _put_back(mine: Task, end: PutBack, at: datetime) -> Task:
    return replace(
        mine,
        status=TaskStatus.PENDING,
        failures=mine.failures + end.is_failure,
        next_attempt_at=at + timedelta(seconds=end.delay_seconds) if end.delay_seconds > 0 else None,
        updated_at=at,
    )


async def _put_back_row(
    connection: AsyncConnection, after: Task, at: datetime, guard: tuple[ColumnElement[bool], ...]
) -> bool:
    changed = await connection.execute(
        update(task)
        .where(*guard, task.c.cancel_requested.is_(False))
        .values(
            status=after.status, failures=after.failures, next_attempt_at=after.next_attempt_at, updated_at=at
        )
    )
    return changed.rowcount == 1


async def _is_recorded(connection: AsyncConnection, entry: Record) -> bool:
    """Whether an earlier try of this very record was committed though its answer was lost."""
    if entry.end is None:
        return False
    row = (
        await connection.execute(
            select(task.c.attempt, task.c.claim_token, task.c.status).where(task.c.id == entry.task.id)
        )
    ).one_or_none()
    if row is None or row.status == TaskStatus.IN_PROGRESS:
        return False
    return bool((row.attempt, row.claim_token) == (entry.task.attempt, entry.task.claim_token))


async def _write_pictures(connection: AsyncConnection, ledger: Ledger, entry: Record, after: Task) -> None:
    for picture in entry.ended_pictures:
        columns = recognition_to_row(picture)
        values = {name: columns[name] for name in _PICTURE_COLUMNS} | {"attempt": entry.task.attempt}
        await connection.execute(update(recognition).where(recognition.c.id == picture.id).values(values))
        ledger.promise(after, EventType.IMAGE, picture)
