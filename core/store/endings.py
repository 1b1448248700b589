"""What every change of state writes beside the row: history, and the callbacks it promises."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Update, bindparam, insert, update
from sqlalchemy.ext.asyncio import AsyncConnection

from core.domain.delivery import Delivery, EventType
from core.domain.promises import EVENT_OF_END, Promises
from core.domain.recognition import ErrorNote, Recognition, RecognitionStatus
from core.domain.task import Task, TaskStatus
from core.ids import Ids
from core.store.rows import delivery_to_row
from core.store.tables import delivery, recognition, task, task_event

NO_ERROR: dict[str, Any] = {"error_code": None, "error_message": None}

# Statements that run for every task are built once: building one costs more than running it.
_ADD_HISTORY = insert(task_event)
_ADD_DELIVERIES = insert(delivery)
_FAIL_OPEN_PICTURES = update(recognition).where(
    recognition.c.task_id == bindparam("of_task"), recognition.c.status == RecognitionStatus.PENDING
)


@dataclass(slots=True)
class Ledger:
    """Collects what one transaction adds beside the rows it changes, and writes it in one go.

    Ids are taken before the transaction: taking one may itself write, and SQLite has one writer.
    """

    promises: Promises
    at: datetime
    spare_ids: list[int]
    history: list[dict[str, Any]] = field(default_factory=list)
    deliveries: list[Delivery] = field(default_factory=list)

    def note(self, before: TaskStatus | None, after: Task, why: str) -> None:
        """Add one line of a task's history."""
        row = {"id": self.spare_ids.pop(), "task_id": after.id, "at": self.at, "attempt": after.attempt}
        row |= {"from_status": before, "to_status": after.status, "why": why[:64]}
        self.history.append(row)

    def promise(
        self, after: Task, event: EventType, picture: Recognition | None = None
    ) -> tuple[Delivery, ...]:
        """Add the delivery of `event` when it is subscribed; answers it, to be queued after the commit."""
        made = self.promises.of(after, event, self.spare_ids[-1], self.at, picture)
        if made is None:
            return ()
        self.spare_ids.pop()
        self.deliveries.append(made)
        return (made,)

    def end(self, before: TaskStatus, after: Task, why: str) -> tuple[Delivery, ...]:
        """Add history and callback of an end; answers the callback, to be queued after the commit."""
        self.note(before, after, why)
        return self.promise(after, EVENT_OF_END[after.status])

    async def write(self, connection: AsyncConnection) -> None:
        """Insert all that was collected."""
        if self.history:
            await connection.execute(_ADD_HISTORY, self.history)
        if self.deliveries:
            rows = [delivery_to_row(made) | {"updated_at": self.at} for made in self.deliveries]
            await connection.execute(_ADD_DELIVERIES, rows)


async def take_spare_ids(ids: Ids, changes: int) -> list[int]:
    """Ids enough for the history and the callback of so many changes; the largest is used last."""
    return list(reversed(await ids.take(2 * changes)))


def ended(before: Task, status: TaskStatus, error: ErrorNote | None, at: datetime) -> Task:
    """The task after an end: open pictures fail with the task's error."""
    return replace(
        before,
        status=status,
        error=error,
        completed_at=at,
        next_attempt_at=None,
        recognitions=tuple(
            r if r.is_final or error is None else fail_picture(r, error, at) for r in before.recognitions
        ),
    )


def fail_picture(open_picture: Recognition, error: ErrorNote, at: datetime) -> Recognition:
    """A picture that ended with its task."""
    return replace(open_picture, status=RecognitionStatus.FAILED, error=error, completed_at=at)


async def end_task(connection: AsyncConnection, after: Task, at: datetime, *guard: Any) -> bool:
    """Compare-and-set a task's row to its end, open pictures with it; tells whether it won."""
    if not await end_row(connection, ending(*guard), after, at):
        return False
    await fail_open_pictures(connection, after, at)
    return True


def ending(*guard: ColumnElement[bool]) -> Update:
    """The statement that ends a task's row under a guard, for `end_row`."""
    of_task = task.c.id == bindparam("ended_id")
    return update(task).where(of_task, *guard).values(next_attempt_at=None, dedup_slot=None)


async def end_row(
    connection: AsyncConnection, statement: Update, after: Task, at: datetime, **guarded: Any
) -> bool:
    """Compare-and-set a task's row alone to its end; tells whether it won.

    `statement` is made by `ending`, `guarded` are the parameters of its guard.
    """
    values = {
        "status": after.status,
        "completed_at": at,
        "updated_at": at,
        "failures": after.failures,
        "crashes": after.crashes,
        "claim_token": after.claim_token,
        **_note(after),
    }
    changed = await connection.execute(statement, {"ended_id": after.id, **guarded, **values})
    return changed.rowcount == 1


async def fail_open_pictures(connection: AsyncConnection, after: Task, at: datetime) -> None:
    """End what an end left open: those pictures fail with the task's error."""
    if after.error is None:
        return
    values = {"status": RecognitionStatus.FAILED, "completed_at": at, **_note(after)}
    await connection.execute(_FAIL_OPEN_PICTURES, {"of_task": after.id, **values})


def _note(after: Task) -> dict[str, Any]:
    error = after.error
    return NO_ERROR if error is None else {"error_code": error.code, "error_message": error.message[:500]}


def by_id(tasks: Sequence[Task]) -> dict[int, Task]:
    """Tasks by their id."""
    return {found.id: found for found in tasks}
