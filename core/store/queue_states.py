"""What a queue must remember beyond Redis: whether it is paused."""

from __future__ import annotations

from functools import partial

from sqlalchemy import select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from core.store.engine import Database
from core.store.tables import queue_state


async def paused_queues(db: Database) -> set[str]:
    """The names of the queues from which nothing may be claimed."""
    statement = select(queue_state.c.queue).where(queue_state.c.paused.is_(True))
    async with db.read() as connection:
        return set((await connection.execute(statement)).scalars())


async def write_paused(db: Database, queue: str, *, paused: bool) -> None:
    """Pause a queue or let it go on."""
    try:
        await db.write(partial(_write, queue, paused))
    except IntegrityError:  # another process added the row at the same moment
        await db.write(partial(_write, queue, paused))


async def _write(queue: str, paused: bool, connection: AsyncConnection) -> None:
    known = select(queue_state.c.queue).where(queue_state.c.queue == queue)
    if (await connection.execute(known)).first() is None:
        await connection.execute(queue_state.insert().values(queue=queue, paused=paused))
        return
    await connection.execute(update(queue_state).where(queue_state.c.queue == queue).values(paused=paused))
