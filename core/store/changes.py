"""Changes that callers ask for: cancel, retry, delete."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from functools import partial

from sqlalchemy import ColumnElement, delete, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from core.domain.delivery import Delivery
from core.domain.promises import Promises
from core.domain.recognition import ErrorNote, RecognitionStatus
from core.domain.task import Task, TaskStatus
from core.errors import DatabaseUnavailable, NotFound, TaskIsFinal, TaskNotFinal
from core.ids import Ids
from core.store.endings import NO_ERROR, Ledger, end_task, ended, take_spare_ids
from core.store.engine import Database, now
from core.store.tables import delivery, delivery_attempt, recognition, remembered_key, task, task_event
from core.store.tasks import load_tasks
from core.store.types import server_now

_CANCELLED = ErrorNote(code="cancelled_by_caller", message="Its caller cancelled the task.")
_TRIES = 5
RETRYABLE = (TaskStatus.FAILED, TaskStatus.CANCELLED, TaskStatus.EXPIRED)


class CancelKind(StrEnum):
    """What a cancellation met."""

    WAITING = "waiting"
    RUNNING = "running"
    FINAL = "final"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cancelled:
    """What a cancellation met, the task after it, and the callbacks it promised."""

    kind: CancelKind
    task: Task
    deliveries: tuple[Delivery, ...] = ()


async def cancel_task(
    db: Database, ids: Ids, promises: Promises, task_id: int, *, system_code: str | None = None
) -> Cancelled:
    """End a waiting task, or ask for a running one to be stopped; raises NotFound."""
    spare = await take_spare_ids(ids, 2)
    return await db.write(partial(_cancel, promises, spare, task_id, system_code))


async def _cancel(
    promises: Promises, spare: list[int], task_id: int, system_code: str | None, connection: AsyncConnection
) -> Cancelled:
    ledger = Ledger(promises=promises, at=await now(connection), spare_ids=list(spare))
    met = await cancel_row(connection, ledger, await _load(connection, task_id, system_code))
    await ledger.write(connection)
    return met


async def cancel_row(connection: AsyncConnection, ledger: Ledger, before: Task) -> Cancelled:
    """Cancel one task whatever it does meanwhile; the ledger is still to be written. Raises NotFound."""
    for _ in range(_TRIES):
        if before.is_final:
            return Cancelled(kind=CancelKind.FINAL, task=before)
        if before.status is TaskStatus.PENDING:
            after = ended(before, TaskStatus.CANCELLED, _CANCELLED, ledger.at)
            unchanged = (task.c.status == TaskStatus.PENDING, task.c.attempt == before.attempt)
            if await end_task(connection, after, ledger.at, *unchanged):
                promised = ledger.end(before.status, after, "cancelled by its caller")
                return Cancelled(kind=CancelKind.WAITING, task=after, deliveries=promised)
        elif await _ask_to_stop(connection, before):
            if not before.cancel_requested:
                ledger.note(before.status, before, "cancel requested")
            return Cancelled(kind=CancelKind.RUNNING, task=before)
        before = await _load(connection, before.id, before.system_code)
    raise DatabaseUnavailable("The task changed too often to be cancelled; try again.")


async def _ask_to_stop(connection: AsyncConnection, running: Task) -> bool:
    changed = await connection.execute(
        update(task)
        .where(task.c.id == running.id, task.c.status == TaskStatus.IN_PROGRESS)
        .values(cancel_requested=True, updated_at=server_now())
    )
    return changed.rowcount == 1


async def retry_task(db: Database, ids: Ids, task_id: int, *, system_code: str | None = None) -> Task:
    """Start a new series of attempts; recognised pictures are kept.

    Raises:
        NotFound: no such task.
        TaskNotFinal: it has not ended.
        TaskIsFinal: it is completed; there is nothing to try again.
    """
    spare = await take_spare_ids(ids, 1)
    return await db.write(partial(_retry, spare, task_id, system_code))


async def _retry(
    spare: list[int], task_id: int, system_code: str | None, connection: AsyncConnection
) -> Task:
    before = await _load(connection, task_id, system_code)
    if not await retry_row(connection, before):
        current = await _load(connection, task_id, system_code)  # it may be gone, or retried, by now
        raise TaskIsFinal("The task is completed.") if current.is_final else TaskNotFinal
    after = await _load(connection, task_id, system_code)
    await connection.execute(task_event.insert(), [retried_line(spare[-1], before, after)])
    return after


async def retry_row(connection: AsyncConnection, before: Task) -> bool:
    """Compare-and-set one ended task to a new series; its history is still to be written."""
    changed = await connection.execute(
        update(task)
        .where(task.c.id == before.id, task.c.status.in_(RETRYABLE))
        .values(
            status=TaskStatus.PENDING,
            failures=0,
            crashes=0,
            cancel_requested=False,
            next_attempt_at=None,
            queue_expires_at=server_now(task.c.queue_ttl_seconds),
            started_at=None,
            completed_at=None,
            series=task.c.series + 1,
            updated_at=server_now(),
            **NO_ERROR,
        )
    )
    if changed.rowcount != 1:
        return False
    await connection.execute(
        update(recognition)
        .where(recognition.c.task_id == before.id, recognition.c.status != RecognitionStatus.COMPLETED)
        .values(status=RecognitionStatus.PENDING, started_at=None, completed_at=None, **NO_ERROR)
    )
    return True


def retried_line(line_id: int, before: Task, after: Task) -> dict[str, object]:
    """The row of history of a retry."""
    row: dict[str, object] = {"id": line_id, "task_id": after.id, "at": after.updated_at}
    row |= {"attempt": after.attempt, "why": "retried by its owner"}
    return row | {"from_status": before.status, "to_status": after.status}


async def delete_task(db: Database, task_id: int, *, system_code: str | None = None) -> list[str]:
    """Erase a final task with all that belongs to it, and name its pictures' media keys.

    Raises:
        NotFound: no such task.
        TaskNotFinal: it has not ended.
    """
    return await db.write(partial(_delete, task_id, system_code))


async def _delete(task_id: int, system_code: str | None, connection: AsyncConnection) -> list[str]:
    before = await _load(connection, task_id, system_code)
    is_final = task.c.status.in_([status for status in TaskStatus if status.is_final])
    if not await erase(connection, [task_id], is_final):
        raise TaskNotFinal
    return [picture.media_key for picture in before.recognitions if picture.media_key is not None]


async def erase(connection: AsyncConnection, candidates: list[int], *where: ColumnElement[bool]) -> list[int]:
    """Delete the rows, in every table, of those tasks that `where` still holds for; answers their ids."""
    # Locked, so that none is retried by its owner while it goes.
    still = select(task.c.id).where(task.c.id.in_(candidates), *where).with_for_update()
    task_ids = list((await connection.execute(still)).scalars())
    sent = select(delivery.c.id).where(delivery.c.task_id.in_(task_ids))
    delivery_ids = list((await connection.execute(sent)).scalars())
    await connection.execute(delete(delivery_attempt).where(delivery_attempt.c.delivery_id.in_(delivery_ids)))
    for table in (delivery, task_event, recognition, remembered_key):
        await connection.execute(delete(table).where(table.c.task_id.in_(task_ids)))
    await connection.execute(delete(task).where(task.c.id.in_(task_ids)))
    return task_ids


async def _load(connection: AsyncConnection, task_id: int, system_code: str | None) -> Task:
    owned: tuple[ColumnElement[bool], ...] = (
        () if system_code is None else (task.c.system_code == system_code,)
    )
    found = await load_tasks(connection, task.c.id == task_id, *owned)
    if not found:
        raise NotFound("There is no such task.")
    return found[0]
