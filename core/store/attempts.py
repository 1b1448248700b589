"""What became of attempts, each record as compare-and-set."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import bindparam, update
from sqlalchemy.ext.asyncio import AsyncConnection

from core.domain.delivery import EventType
from core.domain.recognition import ErrorNote, Recognition, RecognitionStatus
from core.domain.task import Task, TaskStatus
from core.store.endings import Ledger, end_row, ended, ending, fail_open_pictures
from core.store.rows import recognition_to_row
from core.store.tables import recognition, task
from core.store.tasks import load_tasks

_CANCELLED = ErrorNote(code="cancelled_by_caller", message="Its caller cancelled the task.")
_PICTURE_COLUMNS = (
    "status", "media_key", "started_at", "completed_at", "error_code", "error_message", "image_width",
    "image_height", "image_channels", "objects", "counts", "areas", "total", "timings_ms",
)  # fmt: skip

# Whoever is not the row's own claim may write nothing: every change of an attempt stands under this.
_MINE = (
    task.c.attempt == bindparam("my_attempt"),
    task.c.claim_token == bindparam("my_token"),
    task.c.status == TaskStatus.IN_PROGRESS,
)
# Built once: building a statement costs more than running it.
_TOUCH = update(task).where(task.c.id == bindparam("my_task"), *_MINE)
_PUT_BACK = _TOUCH.where(task.c.cancel_requested.is_(False))
_FINISH = ending(*_MINE)
_STOP = ending(*_MINE, task.c.cancel_requested.is_(True))
_END_PICTURE = update(recognition).where(
    recognition.c.id == bindparam("picture_id"),
    recognition.c.task_id == bindparam("of_task"),
    recognition.c.status == RecognitionStatus.PENDING,
)


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


async def record(connection: AsyncConnection, ledger: Ledger, entry: Record) -> Recorded:
    """Write one record if the row is still this attempt's."""
    if entry.end is None:
        touched = await connection.execute(_TOUCH, _claim(entry.task) | {"updated_at": ledger.at})
        won, after, why = touched.rowcount == 1, entry.task, ""
    else:
        won, after, why = await _end(connection, ledger, entry.task, entry.end)
    if not won:
        before = await _recorded_before(connection, entry)
        return Recorded(won=before is not None, task=before or entry.task)
    await _write_pictures(connection, ledger, entry, after)
    if after.is_final:
        await fail_open_pictures(connection, after, ledger.at)
        ledger.end(TaskStatus.IN_PROGRESS, after, why)
    elif entry.end is not None:
        ledger.note(TaskStatus.IN_PROGRESS, after, why)
    return Recorded(won=True, task=after)


def _guard(mine: Task) -> dict[str, Any]:
    """The parameters of `_MINE`."""
    return {"my_attempt": mine.attempt, "my_token": mine.claim_token}


def _claim(mine: Task) -> dict[str, Any]:
    return {"my_task": mine.id, **_guard(mine)}


async def _end(connection: AsyncConnection, ledger: Ledger, mine: Task, end: End) -> tuple[bool, Task, str]:
    if isinstance(end, Finished):
        after = ended(mine, end.status, end.error, ledger.at)
        won = await end_row(connection, _FINISH, after, ledger.at, **_guard(mine))
        return won, after, "attempt ended"
    if isinstance(end, PutBack):
        after = _put_back(mine, end, ledger.at)
        if await _put_back_row(connection, mine, after, ledger.at):
            return True, after, end.why
    # Whoever would have put a task back ends it instead when its caller wants it stopped.
    after = ended(mine, TaskStatus.CANCELLED, _CANCELLED, ledger.at)
    won = await end_row(connection, _STOP, after, ledger.at, **_guard(mine))
    return won, after, "stopped on request"


def _put_back(mine: Task, end: PutBack, at: datetime) -> Task:
    return replace(
        mine,
        status=TaskStatus.PENDING,
        failures=mine.failures + end.is_failure,
        next_attempt_at=at + timedelta(seconds=end.delay_seconds) if end.delay_seconds > 0 else None,
        updated_at=at,
    )


async def _put_back_row(connection: AsyncConnection, mine: Task, after: Task, at: datetime) -> bool:
    values = {name: getattr(after, name) for name in ("status", "failures", "next_attempt_at")}
    changed = await connection.execute(_PUT_BACK, _claim(mine) | values | {"updated_at": at})
    return changed.rowcount == 1


async def _recorded_before(connection: AsyncConnection, entry: Record) -> Task | None:
    """The task, if an earlier try of this very record was committed though its answer was lost.

    Whoever takes an attempt back erases its claim token, so an ended row that bears ours was ended by us.
    """
    ended_by_us = (
        task.c.id == entry.task.id,
        task.c.attempt == entry.task.attempt,
        task.c.claim_token == entry.task.claim_token,
        task.c.status != TaskStatus.IN_PROGRESS,
    )
    found = await load_tasks(connection, *ended_by_us) if entry.end is not None else []
    return found[0] if found else None


async def _write_pictures(connection: AsyncConnection, ledger: Ledger, entry: Record, after: Task) -> None:
    for picture in entry.ended_pictures:
        columns = recognition_to_row(picture)
        values = {name: columns[name] for name in _PICTURE_COLUMNS} | {"attempt": entry.task.attempt}
        which = {"picture_id": picture.id, "of_task": entry.task.id}
        changed = await connection.execute(_END_PICTURE, which | values)
        if changed.rowcount == 1:  # else an earlier try of this record was committed
            ledger.promise(after, EventType.IMAGE, picture)
