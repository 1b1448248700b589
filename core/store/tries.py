"""Recording what tries of deliveries come to: many tries, one transaction."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Self

from sqlalchemy import insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from core.domain.delivery import Delivery, DeliveryStatus, DeliveryTry
from core.domain.retry import TryOutcome
from core.store.deliveries import MINE, mine
from core.store.engine import Database, now
from core.store.group_commit import GroupCommit
from core.store.tables import delivery_attempt
from core.testpoints import reach

_LOG = insert(delivery_attempt)


@dataclass(frozen=True, slots=True, kw_only=True)
class TryRecord:
    """One try that was made, and what follows from it."""

    sent: Delivery
    """As started: attempt and claim token are the guard."""
    token: str
    made: DeliveryTry
    outcome: TryOutcome
    log_id: int
    """The id of its line in the log; the same whenever this record is sent again."""


class TryRecorder:
    """Writes tries; an async context manager that runs the group commit."""

    def __init__(self, db: Database, *, max_group: int = 100, max_pending: int = 10_000) -> None:
        self._group: GroupCommit[TryRecord, Delivery | None] = GroupCommit(
            partial(record_tries, db), max_group=max_group, max_pending=max_pending
        )
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        await self._stack.enter_async_context(self._group)
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._stack.aclose()

    async def write(self, entry: TryRecord) -> Delivery | None:
        """Commit one try and answer the delivery after it; None when the row is another's now.

        Safe to send again. Raises DatabaseUnavailable, IntakeFull.
        """
        return await self._group.submit(entry)


async def record_tries(db: Database, entries: Sequence[TryRecord]) -> list[Delivery | None]:
    """Write what came of tries, in one transaction; None where the row is another's now."""
    return await db.write(partial(_record, entries))


async def _record(entries: Sequence[TryRecord], connection: AsyncConnection) -> list[Delivery | None]:
    at = await now(connection)
    recorded: list[Delivery | None] = []
    lines = []
    for entry in entries:
        after = _after(entry.sent, entry.outcome, at)
        if await _settle(connection, after, entry.token, at):
            lines.append(_line(entry, after, at))
            recorded.append(after)
        else:
            recorded.append(after if await _is_logged(connection, entry) else None)
    if lines:
        await connection.execute(_LOG, lines)
        reach("try.written")
    return recorded


def _after(sent: Delivery, outcome: TryOutcome, at: datetime) -> Delivery:
    return replace(
        sent,
        status=outcome.status,
        tries=sent.tries + 1,
        error_code=outcome.error_code,
        delivered_at=at if outcome.status is DeliveryStatus.DELIVERED else None,
        next_attempt_at=at + timedelta(seconds=outcome.delay_seconds) if outcome.delay_seconds > 0 else None,
    )


async def _settle(connection: AsyncConnection, after: Delivery, token: str, at: datetime) -> bool:
    names = ("status", "tries", "error_code", "delivered_at", "next_attempt_at")
    values = {name: getattr(after, name) for name in names}
    changed = await connection.execute(MINE, mine(after, token) | values | {"updated_at": at})
    return changed.rowcount == 1


async def _is_logged(connection: AsyncConnection, entry: TryRecord) -> bool:
    """Whether an earlier sending of this very record was committed though its answer was lost."""
    logged = select(delivery_attempt.c.id).where(delivery_attempt.c.id == entry.log_id)
    return (await connection.execute(logged)).first() is not None


def _line(entry: TryRecord, after: Delivery, at: datetime) -> dict[str, Any]:
    return {
        "id": entry.log_id,
        "delivery_id": after.id,
        "attempt": after.tries,
        "at": at,
        "duration_ms": entry.made.duration_ms,
        "status_code": entry.made.status_code,
        "error_code": entry.made.error_code,
        "reply": entry.made.reply[:1024] or None,
    }
