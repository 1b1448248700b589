"""What an attempt came to leaves the worker: recorded in the database, settled in the queue, told.

The database commits first, Redis follows, listeners hear last; what is lost in between the
reconciler does.
"""

from __future__ import annotations

import asyncio
import random
from dataclasses import replace
from time import perf_counter

import structlog

from core import metrics
from core.domain.recognition import Recognition
from core.domain.routing import member_of_task, queue_of
from core.domain.task import Task, TaskStatus
from core.errors import DatabaseUnavailable, IntakeFull
from core.queue.events import Event, EventKind
from core.queue.lease import Outcome, Settlement
from core.store.attempts import Record
from core.store.recorder import Recorder, Written
from core.testpoints import reach
from worker.afterwards import Aftermath, Afterwards
from worker.attempt import Attempt, StopReason
from worker.endings import count_end

log = structlog.get_logger()

_HOLD_CAP_SECONDS = 2.0


class Handover:
    """Writes, settles and tells for all attempts of a worker."""

    def __init__(self, recorder: Recorder, afterwards: Afterwards) -> None:
        self._recorder, self._afterwards = recorder, afterwards

    async def picture_ended(self, attempt: Attempt, so_far: Task, ended: Recognition) -> bool:
        """Keep a picture at once, so that a later attempt need not do it again; False = not yet kept."""
        try:
            written = await self._recorder.write(Record(task=so_far, ended_pictures=(ended,)))
        except (DatabaseUnavailable, IntakeFull):
            return False  # it goes with the end
        if not written.recorded.won:
            attempt.stop(StopReason.LOST)
            return False
        told = event_of(EventKind.IMAGE, attempt.task, ended.id)
        await self._afterwards.do(Aftermath(deliveries=written.deliveries, event=told))
        return True

    async def ended(self, attempt: Attempt, record: Record, begun: float) -> None:
        """Write what the attempt came to and bring the plan up to it; `begun` is of `perf_counter`."""
        written = await self._record(attempt, record)
        reach("record.committed")
        if written is None or not written.recorded.won:
            _log_end(attempt.task, "lost", begun)
            await self._afterwards.do(Aftermath(queue=attempt.queue, settlement=_ack(attempt)))
            return
        after = written.recorded.task
        _log_end(after, after.status, begun)
        if after.is_final:
            _count_end(attempt.task, after)
        await self._afterwards.do(_aftermath(attempt, after, written))

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


def _aftermath(attempt: Attempt, after: Task, written: Written) -> Aftermath:
    """What brings the plan up to what the row says now."""
    waits = after.status is TaskStatus.PENDING
    settlement = _ack(attempt)
    if waits and queue_of(crashes=after.crashes) is attempt.queue:
        settlement = replace(
            settlement,
            outcome=Outcome.RETRY if after.failures > attempt.task.failures else Outcome.RELEASE,
            next_member=member_of_task(after),
            delay_ms=_milliseconds_until(after),
        )
    return Aftermath(
        queue=attempt.queue,
        settlement=settlement,
        waiting=after if waits else None,
        deliveries=written.deliveries,
        event=event_of(EventKind.ENDED, after),
    )


def _ack(attempt: Attempt) -> Settlement:
    return Settlement(member=attempt.lease.member, token=attempt.token, outcome=Outcome.ACK)


def event_of(kind: EventKind, task: Task, recognition_id: int = 0) -> Event:
    """What is told of a task."""
    return Event(
        kind=kind,
        id=task.id,
        system_code=task.system_code,
        attempt=task.attempt,
        status=task.status,
        recognition_id=recognition_id,
    )


def _milliseconds_until(after: Task) -> int:
    """The wait that was decided; both times are of the database's clock."""
    if after.next_attempt_at is None or after.updated_at is None:
        return 0
    return max(0, int((after.next_attempt_at - after.updated_at).total_seconds() * 1000))


def _count_end(before: Task, after: Task) -> None:
    count_end(after)
    if after.attempt == 1 and before.started_at and before.created_at:
        metrics.WAIT_SECONDS.observe((before.started_at - before.created_at).total_seconds())


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
