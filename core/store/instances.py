"""Instance numbers for ids, leased from the table `instance_lease`."""

from __future__ import annotations

import random
import uuid

from sqlalchemy import insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from core.errors import DatabaseUnavailable
from core.ids import MAX_INSTANCE, Reservation
from core.store.engine import Database, now
from core.store.tables import instance_lease

_TRIES = 50
_IDLE_MS = 60_000
"""A number whose reserved time ended this long ago is free."""


class InstanceLeases:
    """Leases instance numbers; satisfies `core.ids.Reservations`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def acquire(self, span_ms: int) -> Reservation:
        """Lease a free number; raises DatabaseUnavailable."""
        holder = uuid.uuid4().hex
        for _ in range(_TRIES):
            try:
                taken = await self._database.write(lambda conn: _acquire(conn, holder, span_ms))
            except IntegrityError:
                continue  # another process added the same number first
            if taken is not None:
                return taken
        raise DatabaseUnavailable("No instance number is free; are there over 1,000 processes?")

    async def extend(self, reservation: Reservation, until_ms: int) -> Reservation | None:
        """Promise time up to `until_ms`; None when the number has another holder."""
        statement = (
            update(instance_lease)
            .where(
                instance_lease.c.instance == reservation.instance,
                instance_lease.c.holder == reservation.holder,
            )
            .values(reserved_until_ms=until_ms)
        )

        async def work(connection: AsyncConnection) -> int:
            return (await connection.execute(statement)).rowcount

        if await self._database.write(work) != 1:
            return None
        return Reservation(
            instance=reservation.instance,
            holder=reservation.holder,
            from_ms=reservation.from_ms,
            until_ms=until_ms,
        )


async def _acquire(connection: AsyncConnection, holder: str, span_ms: int) -> Reservation | None:
    now_ms = int((await now(connection)).timestamp() * 1000)
    table = instance_lease
    idle = select(table.c.instance, table.c.holder, table.c.reserved_until_ms).where(
        table.c.reserved_until_ms < now_ms - _IDLE_MS
    )
    free = (await connection.execute(idle.limit(64))).all()
    if free:
        chosen = random.choice(free)
        from_ms = max(chosen.reserved_until_ms, now_ms)
        won = await connection.execute(
            update(table)
            .where(table.c.instance == chosen.instance, table.c.holder == chosen.holder)
            .where(table.c.reserved_until_ms == chosen.reserved_until_ms)
            .values(holder=holder, reserved_until_ms=from_ms + span_ms)
        )
        return _reservation(chosen.instance, holder, from_ms, span_ms) if won.rowcount == 1 else None
    used = set((await connection.execute(select(table.c.instance))).scalars())
    unused = [number for number in range(MAX_INSTANCE + 1) if number not in used]
    if not unused:
        return None
    number = random.choice(unused)
    await connection.execute(
        insert(table).values(instance=number, holder=holder, reserved_until_ms=now_ms + span_ms)
    )
    return _reservation(number, holder, now_ms, span_ms)


def _reservation(instance: int, holder: str, from_ms: int, span_ms: int) -> Reservation:
    return Reservation(instance=instance, holder=holder, from_ms=from_ms, until_ms=from_ms + span_ms)
