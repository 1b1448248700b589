"""What reapers and the reconciler do to rows: expire, take back from lost workers, scan, prune."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial

from sqlalchemy import ColumnElement, and_, or_, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from core.domain.promises import Promises
from core.domain.recognition import ErrorNote
from core.domain.task import Task, TaskStatus
from core.ids import Ids, first_id_at
from core.store.changes import erase
from core.store.endings import Ledger, end_task, ended, take_spare_ids
from core.store.engine import Database, now
from core.store.tables import queue_state, recognition, task, worker
from core.store.tasks import load_tasks
from core.store.types import server_now

DEADLINE_GRACE_SECONDS = 30.0
_EXPIRED = ErrorNote(code="queue_ttl_exceeded", message="The task waited longer than queue_ttl_seconds.")
_LOST = ErrorNote(code="worker_lost", message="The workers of this task died too often.")
_CANCELLED = ErrorNote(code="cancelled_by_caller", message="Its caller cancelled the task.")


@dataclass(frozen=True, slots=True, kw_only=True)
class TakenBack:
    """A task whose worker was lost: as it was, and as it is now."""

    before: Task
    after: Task


async def expire_tasks(db: Database, ids: Ids, promises: Promises, *, limit: int = 200) -> list[Task]:
    """End tasks that waited too long for their first start."""
    due = and_(
        task.c.status == TaskStatus.PENDING,
        task.c.started_at.is_(None),
        task.c.queue_expires_at <= server_now(),
    )
    found = await _ids_of(db, due, limit)
    if not found:
        return []
    spare = await take_spare_ids(ids, len(found))
    return await db.write(partial(_expire, promises, spare, found, due))


async def _expire(
    promises: Promises,
    spare: list[int],
    found: list[int],
    due: ColumnElement[bool],
    connection: AsyncConnection,
) -> list[Task]:
    ledger = Ledger(promises=promises, at=await now(connection), spare_ids=list(spare))
    expired = []
    for before in await load_tasks(connection, task.c.id.in_(found)):
        after = ended(before, TaskStatus.EXPIRED, _EXPIRED, ledger.at)
        if await end_task(connection, after, ledger.at, due):
            ledger.end(before.status, after, "waited too long")
            expired.append(after)
    await ledger.write(connection)
    return expired


def _is_lost() -> ColumnElement[bool]:
    """In progress under a closed worker, or long past its deadline."""
    closed = select(worker.c.id).where(worker.c.closed_at.is_not(None))
    return and_(
        task.c.status == TaskStatus.IN_PROGRESS,
        or_(task.c.worker_id.in_(closed), task.c.deadline_at < server_now(-DEADLINE_GRACE_SECONDS)),
    )


async def take_back_lost(
    db: Database, ids: Ids, promises: Promises, *, max_crashes: int, limit: int = 500
) -> list[TakenBack]:
    """Put tasks of lost workers back, or end them at `max_crashes`, or when they were to be stopped.

    Only a reaper whose own heartbeats ran without a gap for a whole lease may call this.
    """
    found = await _ids_of(db, _is_lost(), limit)
    if not found:
        return []
    spare = await take_spare_ids(ids, len(found))
    return await db.write(partial(_take_back, promises, spare, found, max_crashes))


async def _take_back(
    promises: Promises, spare: list[int], found: list[int], max_crashes: int, connection: AsyncConnection
) -> list[TakenBack]:
    ledger = Ledger(promises=promises, at=await now(connection), spare_ids=list(spare))
    taken = []
    for before in await load_tasks(connection, task.c.id.in_(found), _is_lost()):
        after = await _lose(connection, ledger, before, max_crashes)
        if after is not None:
            taken.append(TakenBack(before=before, after=after))
    await ledger.write(connection)
    return taken


async def _lose(connection: AsyncConnection, ledger: Ledger, before: Task, max_crashes: int) -> Task | None:
    guard = (
        task.c.attempt == before.attempt,
        _is_lost(),
        task.c.cancel_requested.is_(before.cancel_requested),
    )
    # Without its token the lost worker cannot take this change for its own when it wakes.
    crashed = replace(before, crashes=before.crashes + 1, claim_token=None)
    if before.cancel_requested:
        after = ended(crashed, TaskStatus.CANCELLED, _CANCELLED, ledger.at)
    elif crashed.crashes >= max_crashes:
        after = ended(crashed, TaskStatus.FAILED, _LOST, ledger.at)
    else:
        after = replace(crashed, status=TaskStatus.PENDING, next_attempt_at=None)
    if after.is_final:
        if not await end_task(connection, after, ledger.at, *guard):
            return None
        ledger.end(before.status, after, "worker lost")
        return after
    changed = await connection.execute(
        update(task)
        .where(task.c.id == before.id, *guard)
        .values(
            status=after.status,
            crashes=after.crashes,
            claim_token=None,
            next_attempt_at=None,
            updated_at=ledger.at,
        )
    )
    if changed.rowcount != 1:
        return None
    ledger.note(before.status, after, "worker lost")
    return after


async def pending_page(
    db: Database, *, after_id: int = 0, changed_after: datetime | None = None, limit: int = 500
) -> list[Task]:
    """A page of pending tasks by id; with `changed_after`, of those changed since, but 3 s ago at least."""
    where = [task.c.status == TaskStatus.PENDING, task.c.id > after_id]
    if changed_after is not None:
        where += [task.c.updated_at >= changed_after, task.c.updated_at <= server_now(-3.0)]
    async with db.read() as connection:
        return await load_tasks(connection, *where, limit=limit)


async def read_scan_mark(db: Database, queue: str) -> datetime | None:
    """When the last scan that succeeded began, by the server's clock."""
    statement = select(queue_state.c.scanned_at).where(queue_state.c.queue == queue)
    async with db.read() as connection:
        mark: datetime | None = (await connection.execute(statement)).scalar_one_or_none()
    return mark


async def write_scan_mark(db: Database, queue: str, at: datetime) -> None:
    """Remember when a scan that succeeded began."""

    async def work(connection: AsyncConnection) -> None:
        mine = queue_state.c.queue == queue
        changed = await connection.execute(update(queue_state).where(mine).values(scanned_at=at))
        if changed.rowcount == 0:
            row = {"queue": queue, "paused": False, "scanned_at": at}
            await connection.execute(queue_state.insert().values(row))

    try:
        await db.write(work)
    except IntegrityError:  # another process added the row at the same moment
        await db.write(work)


async def prune_tasks(
    db: Database, statuses: Sequence[TaskStatus], *, older_than_seconds: float, limit: int = 100
) -> tuple[int, list[str]]:
    """Erase final tasks that ended so long ago; answers how many, and their pictures' media keys."""
    # What ended so long ago was made before that; the bound on ids is there for the index.
    newest = first_id_at(await db.now() - timedelta(seconds=older_than_seconds))
    old = and_(
        task.c.status.in_(statuses),
        task.c.id < newest,
        task.c.completed_at < server_now(-older_than_seconds),
    )
    found = await _ids_of(db, old, limit)
    if not found:
        return 0, []

    async def work(connection: AsyncConnection) -> tuple[int, list[str]]:
        keys = select(recognition.c.task_id, recognition.c.media_key).where(
            recognition.c.task_id.in_(found), recognition.c.media_key.is_not(None)
        )
        rows = (await connection.execute(keys)).all()
        erased = set(await erase(connection, found, old))
        return len(erased), [row.media_key for row in rows if row.task_id in erased]

    return await db.write(work)


async def _ids_of(db: Database, which: ColumnElement[bool], limit: int) -> list[int]:
    async with db.read() as connection:
        rows = await connection.execute(select(task.c.id).where(which).order_by(task.c.id).limit(limit))
        return list(rows.scalars())
