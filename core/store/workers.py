"""Worker rows: heartbeats, and declaring a silent worker dead."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from functools import partial

from sqlalchemy import func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from core.domain.task import TaskStatus
from core.store.engine import Database
from core.store.tables import task, worker
from core.store.types import server_now


@dataclass(frozen=True, slots=True, kw_only=True)
class Worker:
    """A worker process, as its row tells it; `id` is new at every start."""

    id: str
    host: str
    pid: int
    version: str
    models: tuple[str, ...]
    slots: int
    tasks: int = 0
    started_at: datetime | None = None
    last_seen_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnTask:
    """A row in progress under this worker."""

    task_id: int
    attempt: int
    claim_token: str
    cancel_requested: bool


async def register_worker(db: Database, new: Worker, *, lease_seconds: float) -> None:
    """Add the worker's row; safe to send again."""

    async def work(connection: AsyncConnection) -> None:
        if (await connection.execute(select(worker.c.id).where(worker.c.id == new.id))).first():
            return
        await connection.execute(
            insert(worker).values(
                id=new.id,
                host=new.host[:255],
                pid=new.pid,
                version=new.version,
                models=list(new.models),
                slots=new.slots,
                started_at=server_now(),
                last_seen_at=server_now(),
                alive_until=server_now(lease_seconds),
            )
        )

    await db.write(work)


async def beat_worker(db: Database, worker_id: str, *, lease_seconds: float) -> bool:
    """Prolong the worker's life; False when it was declared dead (or closed) meanwhile."""
    statement = (
        update(worker)
        .where(worker.c.id == worker_id, worker.c.closed_at.is_(None))
        .values(last_seen_at=server_now(), alive_until=server_now(lease_seconds))
    )

    async def work(connection: AsyncConnection) -> int:
        return (await connection.execute(statement)).rowcount

    return await db.write(work) == 1


async def own_tasks(db: Database, worker_id: str) -> list[OwnTask]:
    """The rows in progress under a worker."""
    statement = select(task.c.id, task.c.attempt, task.c.claim_token, task.c.cancel_requested).where(
        task.c.worker_id == worker_id, task.c.status == TaskStatus.IN_PROGRESS
    )
    async with db.read() as connection:
        rows = (await connection.execute(statement)).all()
    return [
        OwnTask(
            task_id=row.id,
            attempt=row.attempt,
            claim_token=row.claim_token,
            cancel_requested=row.cancel_requested,
        )
        for row in rows
    ]


async def close_worker(db: Database, worker_id: str) -> None:
    """Say that the worker has left and starts nothing more."""
    await db.write(partial(_close, worker_id))


async def _close(worker_id: str, connection: AsyncConnection) -> None:
    await connection.execute(
        update(worker)
        .where(worker.c.id == worker_id, worker.c.closed_at.is_(None))
        .values(closed_at=server_now())
    )


async def declare_dead(db: Database) -> list[str]:
    """Close the workers whose heartbeats stopped; answers their ids.

    Only a reaper whose own heartbeats ran without a gap for a whole lease may call this, so that an
    outage of the database kills nobody.
    """
    overdue = (worker.c.closed_at.is_(None), worker.c.alive_until < server_now())
    async with db.read() as connection:
        found = list((await connection.execute(select(worker.c.id).where(*overdue).limit(500))).scalars())
    return [worker_id for worker_id in found if await db.write(partial(_declare, worker_id))]


async def _declare(worker_id: str, connection: AsyncConnection) -> bool:
    changed = await connection.execute(
        update(worker)
        .where(worker.c.id == worker_id, worker.c.closed_at.is_(None), worker.c.alive_until < server_now())
        .values(closed_at=server_now())
    )
    return changed.rowcount == 1


async def list_workers(db: Database) -> list[Worker]:
    """The workers that live: not closed, and heard of within a lease."""
    running = (
        select(task.c.worker_id, func.count().label("tasks"))
        .where(task.c.status == TaskStatus.IN_PROGRESS)
        .group_by(task.c.worker_id)
        .subquery()
    )
    statement = (
        select(worker, running.c.tasks)
        .outerjoin(running, running.c.worker_id == worker.c.id)
        .where(worker.c.closed_at.is_(None), worker.c.alive_until >= server_now())
        .order_by(worker.c.started_at, worker.c.id)
    )
    async with db.read() as connection:
        rows = (await connection.execute(statement)).all()
    return [
        Worker(
            id=row.id,
            host=row.host,
            pid=row.pid,
            version=row.version,
            models=tuple(row.models),
            slots=row.slots,
            tasks=row.tasks or 0,
            started_at=row.started_at,
            last_seen_at=row.last_seen_at,
        )
        for row in rows
    ]
