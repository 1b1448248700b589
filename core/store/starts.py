"""Starting the attempts of one claim: rows, history and `task.started` callbacks in one transaction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import Any

from sqlalchemy import BindParameter, Row, bindparam, exists, func, or_, select, tuple_, update
from sqlalchemy.ext.asyncio import AsyncConnection

from core.domain.delivery import Delivery, EventType
from core.domain.promises import Promises
from core.domain.routing import Member
from core.domain.task import Task, TaskStatus
from core.ids import Ids
from core.store.endings import Ledger, by_id, take_spare_ids
from core.store.engine import Database, write_again
from core.store.tables import task, task_event, worker
from core.store.tasks import load_tasks
from core.store.types import server_now


@dataclass(frozen=True, slots=True, kw_only=True)
class Starts:
    """The tasks whose attempts began, what was promised by it, and whether this worker may start any."""

    tasks: tuple[Task, ...]
    deliveries: tuple[Delivery, ...]
    is_open: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class _Claimed:
    members: tuple[Member, ...]
    known: Mapping[int, Task]
    worker_id: str
    token: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Started:
    """What the row says of an attempt that has just begun."""

    task_id: int
    attempt: int
    failures: int
    crashes: int
    series: int
    started_at: datetime
    deadline_at: datetime
    updated_at: datetime
    """When it was started, by the server's clock."""
    is_new: bool
    """Whether this call started it, and not an earlier one under the same token."""
    is_first: bool
    """Whether it is the first start of this series."""


_STARTED_AS_IS = ("attempt", "failures", "crashes", "series", "started_at", "deadline_at")
_CLAIMED_IDS: BindParameter[Sequence[int]] = bindparam("claimed_ids", expanding=True)
# Built once: building a statement costs more than running it.
_START = (
    update(task)
    .where(
        task.c.id.in_(_CLAIMED_IDS),
        tuple_(task.c.id, task.c.attempt).in_(bindparam("claimed_attempts", expanding=True)),
        task.c.status == TaskStatus.PENDING,
        task.c.cancel_requested.is_(False),
        or_(task.c.started_at.is_not(None), task.c.queue_expires_at > server_now()),
        exists(
            select(worker.c.id).where(worker.c.id == bindparam("my_worker"), worker.c.closed_at.is_(None))
        ),
    )
    .values(
        status=TaskStatus.IN_PROGRESS,
        attempt=task.c.attempt + 1,
        worker_id=bindparam("my_worker"),
        claim_token=bindparam("my_token"),
        deadline_at=server_now(task.c.timeout_seconds),
        updated_at=server_now(),
        started_at=func.coalesce(task.c.started_at, server_now()),
        next_attempt_at=None,
        dedup_slot=None,
    )
)
_MINE = select(task.c.id, task.c.updated_at, *(task.c[name] for name in _STARTED_AS_IS)).where(
    task.c.id.in_(_CLAIMED_IDS),
    task.c.worker_id == bindparam("my_worker"),
    task.c.claim_token == bindparam("my_token"),
    task.c.status == TaskStatus.IN_PROGRESS,
)


class Starter:
    """Starts attempts for one worker."""

    def __init__(self, db: Database, ids: Ids, promises: Promises) -> None:
        self._db, self._ids, self._promises = db, ids, promises

    async def start(
        self, members: Sequence[Member], known: Mapping[int, Task], *, worker_id: str, token: str
    ) -> Starts:
        """Start what may start; `known` spares a read of tasks that came with a message.

        Safe to send again under the same token; raises DatabaseUnavailable.
        """
        spare = await take_spare_ids(self._ids, len(members))
        claim = _Claimed(members=tuple(members), known=known, worker_id=worker_id, token=token)
        return await write_again(self._db, partial(self._start, claim, spare))

    async def _start(self, claim: _Claimed, spare: list[int], connection: AsyncConnection) -> Starts:
        started = await _start_rows(connection, claim)
        if not started:
            return Starts(tasks=(), deliveries=(), is_open=await _is_open(connection, claim.worker_id))
        at = max(row.updated_at for row in started)
        ledger = Ledger(promises=self._promises, at=at, spare_ids=list(spare))
        tasks = await _as_started(connection, started, claim)
        for begun, row in zip(tasks, started, strict=True):
            if row.is_new:
                ledger.note(TaskStatus.PENDING, begun, "attempt started")
            if row.is_new and row.is_first:
                ledger.promise(begun, EventType.STARTED)
        await ledger.write(connection)
        is_open = len(started) == len(claim.members) or await _is_open(connection, claim.worker_id)
        return Starts(tasks=tuple(tasks), deliveries=tuple(ledger.deliveries), is_open=is_open)


async def _start_rows(connection: AsyncConnection, claim: _Claimed) -> list[_Started]:
    """Start the attempts that still may; one statement for all.

    The claim token tells which were won, also when an earlier answer was lost.
    """
    mine = {
        "claimed_ids": [member.id for member in claim.members],
        "my_worker": claim.worker_id,
        "my_token": claim.token,
    }
    before = [(member.id, member.attempt - 1) for member in claim.members]
    begun = await connection.execute(_START, mine | {"claimed_attempts": before})
    rows = (await connection.execute(_MINE, mine)).all()
    noted = await _noted(connection, rows) if begun.rowcount < len(rows) else set()
    return [
        _Started(
            task_id=row.id,
            updated_at=row.updated_at,
            is_new=row.id not in noted,
            is_first=row.started_at == row.updated_at,
            **{name: getattr(row, name) for name in _STARTED_AS_IS},
        )
        for row in rows
    ]


async def _noted(connection: AsyncConnection, rows: Sequence[Row[Any]]) -> set[int]:
    """Those whose start stands in their history already: its commit succeeded, its answer was lost."""
    starts = [(row.id, row.attempt, TaskStatus.IN_PROGRESS.value) for row in rows]
    event = task_event.c
    statement = select(event.task_id).where(
        event.task_id.in_([row.id for row in rows]),
        tuple_(event.task_id, event.attempt, event.to_status).in_(starts),
    )
    return set((await connection.execute(statement)).scalars())


async def _as_started(
    connection: AsyncConnection, started: Sequence[_Started], claim: _Claimed
) -> list[Task]:
    # A message tells what was asked; only before the first attempt is that all there is to know.
    missing = [row.task_id for row in started if row.attempt > 1 or row.task_id not in claim.known]
    loaded = by_id(await load_tasks(connection, task.c.id.in_(missing))) if missing else {}
    return [
        replace(
            loaded.get(row.task_id) or claim.known[row.task_id],
            status=TaskStatus.IN_PROGRESS,
            attempt=row.attempt,
            failures=row.failures,
            crashes=row.crashes,
            series=row.series,
            started_at=row.started_at,
            deadline_at=row.deadline_at,
            worker_id=claim.worker_id,
            claim_token=claim.token,
            next_attempt_at=None,
        )
        for row in started
    ]


async def _is_open(connection: AsyncConnection, worker_id: str) -> bool:
    mine = select(worker.c.id).where(worker.c.id == worker_id, worker.c.closed_at.is_(None))
    return (await connection.execute(mine)).first() is not None
