"""Erasing what was kept long enough, in batches small enough that no statement takes long."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import and_, delete, exists, select
from sqlalchemy.ext.asyncio import AsyncConnection

from core.domain.delivery import DeliveryStatus
from core.domain.task import TaskStatus
from core.ids import first_id_at
from core.store.changes import erase
from core.store.engine import Database
from core.store.tables import delivery, recognition, task, worker
from core.store.types import server_now


@dataclass(frozen=True, slots=True, kw_only=True)
class Pruned:
    """What one batch erased."""

    tasks: int
    media_keys: tuple[str, ...]
    last_id: int | None
    """Where the next batch begins; None = nothing was due behind this one."""


async def prune_tasks(
    db: Database, status: TaskStatus, *, older_than_seconds: float, after_id: int = 0, limit: int = 100
) -> Pruned:
    """Erase tasks that ended in `status` so long ago, and no task that still has a callback to send.

    One status at a time and behind the last batch, so that the index on status and id leads straight to
    them: entries of rows erased before may still be in it, and each batch would pass them all.
    """
    # What ended so long ago was made before that; the bound on ids is there for the index.
    newest = first_id_at(await db.now() - timedelta(seconds=older_than_seconds))
    unsent = (DeliveryStatus.PENDING, DeliveryStatus.SENDING)
    old = and_(
        task.c.status == status,
        task.c.id < newest,
        task.c.completed_at < server_now(-older_than_seconds),
        ~exists().where(delivery.c.task_id == task.c.id, delivery.c.status.in_(unsent)),
    )
    statement = select(task.c.id).where(old, task.c.id > after_id).order_by(task.c.id).limit(limit)
    async with db.read() as connection:
        found = list((await connection.execute(statement)).scalars())
    if not found:
        return Pruned(tasks=0, media_keys=(), last_id=None)

    async def work(connection: AsyncConnection) -> Pruned:
        keys = select(recognition.c.task_id, recognition.c.media_key).where(
            recognition.c.task_id.in_(found), recognition.c.media_key.is_not(None)
        )
        rows = (await connection.execute(keys)).all()
        erased = set(await erase(connection, found, old))
        media_keys = tuple(row.media_key for row in rows if row.task_id in erased)
        last_id = found[-1] if len(found) == limit else None
        return Pruned(tasks=len(erased), media_keys=media_keys, last_id=last_id)

    return await db.write(work)


async def known_tasks(db: Database, task_ids: Sequence[int]) -> set[int]:
    """Those of the ids that have a row."""
    async with db.read() as connection:
        rows = await connection.execute(select(task.c.id).where(task.c.id.in_(task_ids)))
        return set(rows.scalars())


async def prune_workers(db: Database, *, older_than_seconds: float, limit: int = 100) -> int:
    """Forget workers that were closed so long ago and have no work in their name any more."""
    holds_task = exists().where(task.c.worker_id == worker.c.id, task.c.status == TaskStatus.IN_PROGRESS)
    holds_delivery = exists().where(
        delivery.c.worker_id == worker.c.id, delivery.c.status == DeliveryStatus.SENDING
    )
    old = and_(worker.c.closed_at < server_now(-older_than_seconds), ~holds_task, ~holds_delivery)
    async with db.read() as connection:
        found = list((await connection.execute(select(worker.c.id).where(old).limit(limit))).scalars())

    async def work(connection: AsyncConnection) -> int:
        return (await connection.execute(delete(worker).where(worker.c.id.in_(found)))).rowcount

    return await db.write(work) if found else 0
