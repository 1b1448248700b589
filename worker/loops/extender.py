"""The heartbeat: keeps the worker's row and its leases alive, and hears what became of its tasks."""

from __future__ import annotations

import structlog

from core.clock import ServerClock
from core.domain.task import Task, TaskStatus
from core.plan import Plan
from core.store.attempts import PutBack, Record
from core.store.engine import Database
from core.store.recorder import Recorder
from core.store.tasks import get_task
from core.store.workers import OwnTask, beat_worker, own_tasks, register_worker
from worker.attempt import Holdings, StopReason
from worker.identity import Identity

log = structlog.get_logger()


class Extender:
    """One heartbeat of a worker, in the database first, then in Redis."""

    def __init__(
        self,
        db: Database,
        plan: Plan,
        recorder: Recorder,
        holdings: Holdings,
        identity: Identity,
        clock: ServerClock,
    ) -> None:
        self._db, self._plan, self._recorder = db, plan, recorder
        self._holdings, self._identity, self._clock = holdings, identity, clock

    async def step(self) -> None:
        """Beat once; raises Unavailable when the database or Redis is away."""
        alive = await beat_worker(
            self._db, self._identity.boot_id, lease_seconds=self._identity.lease_seconds
        )
        if not alive:
            await self._register_anew()
        self._identity.beat()
        self._clock.set(await self._db.now())
        for row in await own_tasks(self._db, self._identity.boot_id):
            await self._compare(row)
        await self._extend_leases()

    async def _register_anew(self) -> None:
        """Another declared this worker dead: its rows are taken, so nothing it holds may be written."""
        log.warning("worker.declared_dead", worker_id=self._identity.boot_id, tasks=len(self._holdings))
        for attempt in self._holdings:
            attempt.stop(StopReason.LOST)
        self._identity.renew()
        await register_worker(self._db, self._identity.row(), lease_seconds=self._identity.lease_seconds)

    async def _compare(self, row: OwnTask) -> None:
        """Stop what is to be stopped; a row under a token that is not held here goes back at no cost."""
        attempt = self._holdings.find(row.task_id)
        if self._holdings.token_of(row.task_id) != row.claim_token:
            await self._put_back(row)
        elif row.cancel_requested and attempt is not None:
            attempt.stop(StopReason.CANCELLED)

    async def _put_back(self, row: OwnTask) -> None:
        task = await get_task(self._db, row.task_id)
        if task is None or task.status is not TaskStatus.IN_PROGRESS:
            return  # it has ended since its row was read
        if (task.attempt, task.claim_token) != (row.attempt, row.claim_token):
            return
        written = await self._recorder.write(Record(task=task, end=PutBack(why="unknown to its worker")))
        if written.recorded.won:
            await self._plan.enqueue_deliveries(written.deliveries)
            await self._requeue(written.recorded.task)

    async def _requeue(self, task: Task) -> None:
        if not task.is_final:
            await self._plan.enqueue_tasks([task])

    async def _extend_leases(self) -> None:
        lease_ms = int(self._identity.lease_seconds * 1000)
        for queue_name in {attempt.queue for attempt in self._holdings}:
            pairs = [(a.lease.member, a.token) for a in self._holdings if a.queue is queue_name]
            # NOT YOURS is not the end of the work: only the row ends it.
            await self._plan.queues.of(queue_name).extend(lease_ms, pairs)
