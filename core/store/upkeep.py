"""What reapers and the reconciler do to rows: expire, take back from lost workers, scan marks."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import Any

from sqlalchemy import ColumnElement, and_, or_, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from core.domain.delivery import Delivery
from core.domain.promises import Promises
from core.domain.recognition import ErrorNote
from core.domain.task import Task, TaskStatus
from core.ids import Ids
from core.store.endings import Ledger, end_task, ended, take_spare_ids
from core.store.engine import Database, now
from core.store.tables import queue_state, task, worker
from core.store.tasks import load_tasks
from core.store.types import server_now

DEADLINE_GRACE_SECONDS = 30.0
_EXPIRED = ErrorNote(code="queue_ttl_exceeded", message="The task waited longer than queue_ttl_seconds.")
_LOST = ErrorNote(code="worker_lost", message="The workers of this task died too often.")
_CANCELLED = ErrorNote(code="cancelled_by_caller", message="Its caller cancelled the task.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Moved:
    """A task that was ended or put back here: as it was, as it is now, and what that promised."""

    before: Task
    after: Task
    deliveries: tuple[Delivery, ...] = ()


async def expire_tasks(db: Database, ids: Ids, promises: Promises, *, limit: int = 200) -> list[Moved]:
    """End tasks that waited too long for their first start."""
    due = and_(
        task.c.status == TaskStatus.PENDING,
        task.c.started_at.is_(None),
        task.c.queue_expires_at <= server_now(),
    )
    # In the order of the index that knows them: the other one would pass all that waits, every second.
    found = await _ids_of(db, due, task.c.queue_expires_at, limit)
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
) -> list[Moved]:
    ledger = Ledger(promises=promises, at=await now(connection), spare_ids=list(spare))
    expired = []
    for before in await load_tasks(connection, task.c.id.in_(found)):
        after = ended(before, TaskStatus.EXPIRED, _EXPIRED, ledger.at)
        if await end_task(connection, after, ledger.at, due):
            expired.append(_end(ledger, before, after, "waited too long"))
    await ledger.write(connection)
    return expired


def _end(ledger: Ledger, before: Task, after: Task, why: str) -> Moved:
    """Note an end, and give it with the callbacks that it promised."""
    promised_before = len(ledger.deliveries)
    ledger.end(before.status, after, why)
    return Moved(before=before, after=after, deliveries=tuple(ledger.deliveries[promised_before:]))


def _is_lost() -> ColumnElement[bool]:
    """In progress under a closed worker, or long past its deadline."""
    closed = select(worker.c.id).where(worker.c.closed_at.is_not(None))
    return and_(
        task.c.status == TaskStatus.IN_PROGRESS,
        or_(task.c.worker_id.in_(closed), task.c.deadline_at < server_now(-DEADLINE_GRACE_SECONDS)),
    )


async def take_back_lost(
    db: Database, ids: Ids, promises: Promises, *, max_crashes: int, limit: int = 500
) -> list[Moved]:
    """Put tasks of lost workers back, or end them at `max_crashes`, or when they were to be stopped.

    Only a reaper whose own heartbeats ran without a gap for a whole lease may call this.
    """
    found = await _ids_of(db, _is_lost(), task.c.id, limit)
    if not found:
        return []
    spare = await take_spare_ids(ids, len(found))
    return await db.write(partial(_take_back, promises, spare, found, max_crashes))


async def _take_back(
    promises: Promises, spare: list[int], found: list[int], max_crashes: int, connection: AsyncConnection
) -> list[Moved]:
    ledger = Ledger(promises=promises, at=await now(connection), spare_ids=list(spare))
    taken = []
    for before in await load_tasks(connection, task.c.id.in_(found), _is_lost()):
        moved = await _lose(connection, ledger, before, max_crashes)
        if moved is not None:
            taken.append(moved)
    await ledger.write(connection)
    return taken


async def _lose(connection: AsyncConnection, ledger: Ledger, before: Task, max_crashes: int) -> Moved | None:
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
        return await _put_back(connection, ledger, before, crashed, *guard)
    if not await end_task(connection, after, ledger.at, *guard):
        return None
    return _end(ledger, before, after, "worker lost")


async def _put_back(
    connection: AsyncConnection, ledger: Ledger, before: Task, crashed: Task, *guard: ColumnElement[bool]
) -> Moved | None:
    after = replace(crashed, status=TaskStatus.PENDING, next_attempt_at=None)
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
    return Moved(before=before, after=after)


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


async def _ids_of(
    db: Database, which: ColumnElement[bool], order: ColumnElement[Any], limit: int
) -> list[int]:
    async with db.read() as connection:
        rows = await connection.execute(select(task.c.id).where(which).order_by(order).limit(limit))
        return list(rows.scalars())
