"""Starting the attempts of one claim: rows, history and `task.started` callbacks in one transaction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from core.domain.delivery import Delivery
from core.domain.promises import Promises
from core.domain.routing import Member
from core.domain.task import Task, TaskStatus
from core.ids import Ids
from core.store.attempts import Started, note_starts, start_attempts
from core.store.endings import Ledger, by_id, take_spare_ids
from core.store.engine import Database, now
from core.store.tables import task, worker
from core.store.tasks import load_tasks


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
        return await self._db.write(partial(self._start, claim, spare))

    async def _start(self, claim: _Claimed, spare: list[int], connection: AsyncConnection) -> Starts:
        started = await start_attempts(
            connection, worker_id=claim.worker_id, token=claim.token, members=claim.members
        )
        ledger = Ledger(promises=self._promises, at=await now(connection), spare_ids=list(spare))
        tasks = await _as_started(connection, started, claim)
        note_starts(ledger, tasks, {row.task_id for row in started if row.is_first})
        await ledger.write(connection)
        is_open = len(started) == len(claim.members) or await _is_open(connection, claim.worker_id)
        return Starts(tasks=tuple(tasks), deliveries=tuple(ledger.deliveries), is_open=is_open)


async def _as_started(connection: AsyncConnection, started: Sequence[Started], claim: _Claimed) -> list[Task]:
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
