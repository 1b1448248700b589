"""What an attempt came to leaves the worker: recorded in the database, settled in the queue, told.

The database commits first, Redis follows, listeners hear last; what is lost in between the
reconciler does.
"""

from __future__ import annotations

import asyncio
import random
from contextlib import suppress
from time import perf_counter

import structlog

from core import metrics
from core.domain.recognition import Recognition
from core.domain.routing import member_of_task, queue_of
from core.domain.task import Task, TaskStatus
from core.errors import DatabaseUnavailable, IntakeFull, QueueUnavailable
from core.plan import Plan
from core.queue.events import Event, EventKind, Events
from core.queue.lease import Outcome, Settlement
from core.store.attempts import Record
from core.store.recorder import Recorder, Written
from worker.attempt import Attempt, StopReason

log = structlog.get_logger()

_HOLD_CAP_SECONDS = 2.0


class Handover:
    """Writes, settles and tells for all attempts of a worker."""

    def __init__(self, recorder: Recorder, plan: Plan, events: Events) -> None:
        self._recorder, self._plan, self._events = recorder, plan, events

    async def began(self, task: Task) -> None:
        """Tell that an attempt has started."""
        await self._tell(EventKind.STARTED, task)

    async def picture_ended(self, attempt: Attempt, so_far: Task, ended: Recognition) -> bool:
        """Keep a picture at once, so that a later attempt need not do it again; False = not yet kept."""
        try:
            written = await self._recorder.write(Record(task=so_far, ended_pictures=(ended,)))
        except (DatabaseUnavailable, IntakeFull):
            return False  # it goes with the end
        if not written.recorded.won:
            attempt.stop(StopReason.LOST)
            return False
        await self._plan.enqueue_deliveries(written.deliveries)
        await self._tell(EventKind.IMAGE, attempt.task, ended.id)
        return True

    async def ended(self, attempt: Attempt, record: Record, begun: float) -> None:
        """Write what the attempt came to and bring the plan up to it; `begun` is of `perf_counter`."""
        written = await self._record(attempt, record)
        if written is None or not written.recorded.won:
            _log_end(attempt.task, "lost", begun)
            await self._settle(attempt, Outcome.ACK, None)
            return
        after = written.recorded.task
        _log_end(after, after.status, begun)
        if after.is_final:
            _count_end(attempt.task, after)
        await self._hand_on(attempt, after, written)

    async def _record(self, attempt: Attempt, record: Record) -> Written | None:
        """Write the end; while the database is away the result is held, and only the row can refuse it."""
        delay_seconds = 0.05
        while attempt.stop_reason is not StopReason.LOST:
            try:
                return await asyncio.shield(self._recorder.write(record))
            except (DatabaseUnavailable, IntakeFull):
                log.warning("attempt.held", task_id=attempt.task.id, attempt=attempt.task.attempt)
                await asyncio.sleep(random.uniform(0, delay_seconds))
                delay_seconds = min(_HOLD_CAP_SECONDS, delay_seconds * 2)
        return None

    async def _hand_on(self, attempt: Attempt, after: Task, written: Written) -> None:
        """Bring the plan up to what the row says now; what is lost here the reconciler does."""
        waits = after.status is TaskStatus.PENDING
        if waits and queue_of(crashes=after.crashes) is attempt.queue:
            outcome = Outcome.RETRY if after.failures > attempt.task.failures else Outcome.RELEASE
            is_queued = await self._settle(attempt, outcome, after)
        else:
            await self._settle(attempt, Outcome.ACK, None)
            is_queued = False
        if waits and not is_queued:
            await self._plan.enqueue_tasks([after])
        await self._plan.enqueue_deliveries(written.deliveries)
        await self._tell(EventKind.ENDED, after)

    async def _settle(self, attempt: Attempt, outcome: Outcome, after: Task | None) -> bool:
        """End the lease; False when it was not ours any more, or Redis is away."""
        settlement = Settlement(
            member=attempt.lease.member,
            token=attempt.token,
            outcome=outcome,
            next_member=None if after is None else member_of_task(after),
            delay_ms=0 if after is None else _milliseconds_until(after),
        )
        try:
            return all(await self._plan.queues.of(attempt.queue).settle([settlement]))
        except QueueUnavailable:
            return False

    async def _tell(self, kind: EventKind, task: Task, recognition_id: int = 0) -> None:
        event = Event(
            kind=kind,
            id=task.id,
            system_code=task.system_code,
            attempt=task.attempt,
            status=task.status,
            recognition_id=recognition_id,
        )
        with suppress(QueueUnavailable):
            await self._events.publish(event)


def _milliseconds_until(after: Task) -> int:
    """The wait that was decided; both times are of the database's clock."""
    if after.next_attempt_at is None or after.updated_at is None:
        return 0
    return max(0, int((after.next_attempt_at - after.updated_at).total_seconds() * 1000))


def _count_end(before: Task, after: Task) -> None:
    metrics.TASKS_ENDED.labels(after.status.value, after.error.code if after.error else "").inc()
    if after.attempt == 1 and before.started_at and before.created_at:
        metrics.WAIT_SECONDS.observe((before.started_at - before.created_at).total_seconds())
    if after.duration_ms is not None:
        metrics.RUN_SECONDS.observe(after.duration_ms / 1000)


def _log_end(task: Task, outcome: str, begun: float) -> None:
    log.info(
        "attempt.ended",
        task_id=task.id,
        system_code=task.system_code,
        outcome=str(outcome),
        attempt=task.attempt,
        failures=task.failures,
        crashes=task.crashes,
        error=task.error.code if task.error else None,
        duration_ms=round((perf_counter() - begun) * 1000),
        retry_in_seconds=round(_milliseconds_until(task) / 1000, 1) or None,
    )
