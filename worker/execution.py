"""One attempt: recognise its open pictures, record, settle. Every ending becomes a value first.

Verbs, in order: `_recognise_all` (or a stop), `_conclude`, `_record`, `_settle`, `_tell`.
"""

from __future__ import annotations

import asyncio
import random
from contextlib import suppress
from dataclasses import dataclass, replace
from time import perf_counter

import structlog

from core import metrics
from core.domain.recognition import ErrorNote, Recognition
from core.domain.retry import ATTEMPTS_EXHAUSTED, Retry, after_run, is_transient
from core.domain.routing import member_of_task, queue_of
from core.domain.task import Task, TaskStatus
from core.errors import DatabaseUnavailable, IntakeFull, MusterError, QueueUnavailable
from core.plan import Plan
from core.queue.events import Event, EventKind, Events
from core.queue.lease import Outcome, Settlement
from core.store.attempts import End, Finished, PutBack, Record, Stopped
from core.store.recorder import Recorder, Written
from worker.attempt import Attempt, StopReason
from worker.pictures import PictureWork

log = structlog.get_logger()


@dataclass(slots=True)
class _Run:
    """What one run has come to so far."""

    pictures: dict[int, Recognition]
    """All pictures of the task by id, ended ones as they ended."""
    unrecorded: dict[int, Recognition]
    """Ended in this run and not yet in the database."""
    transient: dict[int, MusterError]
    """Errors of pictures that may succeed later."""
    timed_out: bool = False
    broken: bool = False


class Execution:
    """Carries attempts to their end."""

    def __init__(
        self, work: PictureWork, recorder: Recorder, plan: Plan, events: Events, *, max_failures: int
    ) -> None:
        self._work, self._recorder, self._plan, self._events = work, recorder, plan, events
        self._max_failures = max_failures

    async def run(self, attempt: Attempt) -> None:
        """Do everything for one attempt; only a cancelled worker makes this raise."""
        begun = perf_counter()
        await self._tell(EventKind.STARTED, attempt.task)
        run = _Run({picture.id: picture for picture in attempt.task.recognitions}, {}, {})
        await self._recognise_all(attempt, run)
        if attempt.stop_reason is StopReason.LOST:
            _log_end(attempt.task, "lost", begun)
            return
        record = self._conclude(attempt, run)
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

    # ---- recognise

    async def _recognise_all(self, attempt: Attempt, run: _Run) -> None:
        """Work on the open pictures side by side, under the task's time limit, until done or stopped."""
        attempt.work = asyncio.create_task(self._limited(attempt, run), name=f"attempt-{attempt.task.id}")
        if attempt.stop_reason is not None:
            attempt.work.cancel()
        try:
            await asyncio.wait([attempt.work])
        except asyncio.CancelledError:
            attempt.work.cancel()
            await asyncio.wait([attempt.work])
            raise
        if not attempt.work.cancelled() and (error := attempt.work.exception()) is not None:
            run.broken = True
            log.error("attempt.broken", task_id=attempt.task.id, exc_info=error)

    async def _limited(self, attempt: Attempt, run: _Run) -> None:
        try:
            async with asyncio.timeout(attempt.task.timeout_seconds), asyncio.TaskGroup() as group:
                for picture in attempt.task.recognitions:
                    if not picture.is_final:
                        group.create_task(self._one(attempt, run, picture))
        except TimeoutError:
            run.timed_out = True

    async def _one(self, attempt: Attempt, run: _Run, picture: Recognition) -> None:
        try:
            ended = await self._work.recognise(attempt.task, picture)
        except MusterError as error:
            if is_transient(error):
                run.transient[picture.id] = error
                return
            ended = self._work.failed(picture, error)
        run.pictures[picture.id] = run.unrecorded[picture.id] = ended
        if any(not other.is_final for other in run.pictures.values()):
            await self._record_progress(attempt, run, ended)

    async def _record_progress(self, attempt: Attempt, run: _Run, ended: Recognition) -> None:
        """Keep what succeeded at once, so that a later attempt need not do it again."""
        with suppress(DatabaseUnavailable, IntakeFull):  # then it goes with the end
            written = await self._recorder.write(Record(task=attempt.task, ended_pictures=(ended,)))
            if not written.recorded.won:
                attempt.stop(StopReason.LOST)
                return
            run.unrecorded.pop(ended.id, None)
            await self._plan.enqueue_deliveries(written.deliveries)
            await self._tell(EventKind.IMAGE, attempt.task, ended.id)

    # ---- conclude

    def _conclude(self, attempt: Attempt, run: _Run) -> Record:
        """Turn what happened into what is written."""
        task = self._with(attempt.task, run)
        end: End
        if attempt.stop_reason is StopReason.CANCELLED:
            end = Stopped()
        elif attempt.stop_reason is StopReason.DRAINED:
            end = PutBack(why="drained")
        else:
            task, end = self._decide(task, run)
        return Record(task=task, ended_pictures=tuple(run.unrecorded.values()), end=end)

    def _decide(self, task: Task, run: _Run) -> tuple[Task, End]:
        if run.broken:
            return task, self._broken_end(task)
        if run.timed_out:
            self._fail_open(run)
            task = self._with(task, run)
        decision = after_run(task, run.transient, max_failures=self._max_failures, timed_out=run.timed_out)
        if isinstance(decision, Retry):
            return task, PutBack(delay_seconds=decision.delay_seconds, is_failure=True, why="transient error")
        self._fail_open(run)
        return self._with(task, run), Finished(status=decision.status, error=decision.error)

    def _fail_open(self, run: _Run) -> None:
        """End what is still open: by its transient error, or else because the task's time is over."""
        for picture in list(run.pictures.values()):
            if picture.is_final:
                continue
            error = run.transient.get(picture.id)
            ended = self._work.failed(picture, error) if error else self._work.timed_out(picture)
            run.pictures[picture.id] = run.unrecorded[picture.id] = ended

    def _broken_end(self, task: Task) -> End:
        """A mistake of ours: tried again like a failure, then given up."""
        if task.failures + 1 < self._max_failures:
            return PutBack(delay_seconds=random.uniform(0, 2.0), is_failure=True, why="internal error")
        note = ErrorNote(code=ATTEMPTS_EXHAUSTED, message="The attempts ended with an internal error.")
        return Finished(status=TaskStatus.FAILED, error=note)

    @staticmethod
    def _with(task: Task, run: _Run) -> Task:
        return replace(task, recognitions=tuple(run.pictures[picture.id] for picture in task.recognitions))

    # ---- record, settle, tell

    async def _record(self, attempt: Attempt, record: Record) -> Written | None:
        """Write the end; while the database is away the result is held, and only the row can refuse it."""
        delay_seconds = 0.05
        while attempt.stop_reason is not StopReason.LOST:
            try:
                return await asyncio.shield(self._recorder.write(record))
            except (DatabaseUnavailable, IntakeFull):
                log.warning("attempt.held", task_id=attempt.task.id, attempt=attempt.task.attempt)
                await asyncio.sleep(random.uniform(0, delay_seconds))
                delay_seconds = min(2.0, delay_seconds * 2)
        return None

    async def _hand_on(self, attempt: Attempt, after: Task, written: Written) -> None:
        """Bring the plan up to what the row says now; what is lost here the reconciler does."""
        if after.status is not TaskStatus.PENDING:
            await self._settle(attempt, Outcome.ACK, None)
        elif queue_of(crashes=after.crashes) is attempt.queue:
            outcome = Outcome.RETRY if after.failures > attempt.task.failures else Outcome.RELEASE
            await self._settle(attempt, outcome, after)
        else:
            await self._settle(attempt, Outcome.ACK, None)
            await self._plan.enqueue_tasks([after])
        await self._plan.enqueue_deliveries(written.deliveries)
        await self._tell(EventKind.ENDED, after)

    async def _settle(self, attempt: Attempt, outcome: Outcome, after: Task | None) -> None:
        settlement = Settlement(
            member=attempt.lease.member,
            token=attempt.token,
            outcome=outcome,
            next_member=None if after is None else member_of_task(after),
            delay_ms=0 if after is None else _milliseconds_until(after),
        )
        with suppress(QueueUnavailable):
            await self._plan.queues.of(attempt.queue).settle([settlement])

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
    )
