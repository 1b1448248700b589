"""One attempt: recognise its open pictures, conclude, hand over. Every ending becomes a value first.

Verbs, in order: `_recognise_all` (or a stop), `_conclude`; then record, settle and tell in handover.py.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from time import perf_counter

import structlog

from core.domain.backoff import task_retry_delay
from core.domain.recognition import ErrorNote, Recognition
from core.domain.retry import ATTEMPTS_EXHAUSTED, TASK_TIMEOUT, Retry, after_run, is_transient
from core.domain.task import Task
from core.errors import MusterError
from core.store.attempts import End, Finished, PutBack, Record, Stopped
from core.testpoints import reach
from worker.attempt import Attempt, StopReason
from worker.handover import Handover
from worker.pictures import PictureWork

log = structlog.get_logger()

_INTERNAL = ErrorNote(code=ATTEMPTS_EXHAUSTED, message="The attempts ended with an internal error.")


@dataclass(slots=True)
class _Run:
    """What one run has come to so far."""

    pictures: dict[int, Recognition]
    """All pictures of the task by id, ended ones as they ended."""
    unrecorded: dict[int, Recognition]
    """Ended in this run and not yet in the database."""
    transient: dict[int, MusterError]
    """Errors of pictures that may succeed later."""
    is_timed_out: bool = False
    is_broken: bool = False

    @property
    def is_open(self) -> bool:
        """Whether a picture has not ended."""
        return any(not picture.is_final for picture in self.pictures.values())


class Execution:
    """Carries attempts to their end."""

    def __init__(self, work: PictureWork, handover: Handover, *, max_failures: int) -> None:
        self._work, self._handover, self._max_failures = work, handover, max_failures

    async def run(self, attempt: Attempt) -> None:
        """Do everything for one attempt; only a cancelled worker makes this raise."""
        begun = perf_counter()
        run = _Run({picture.id: picture for picture in attempt.task.recognitions}, {}, {})
        try:
            await self._carry_out(attempt, run, begun)
        except Exception:
            log.exception("attempt.broken", task_id=attempt.task.id)
            await self._give_up(attempt, run, begun)

    async def _carry_out(self, attempt: Attempt, run: _Run, begun: float) -> None:
        await self._recognise_all(attempt, run)
        await self._handover.ended(attempt, self._conclude(attempt, run), begun)

    async def _give_up(self, attempt: Attempt, run: _Run, begun: float) -> None:
        """Record only that the attempt failed: what it found cannot be written, or not be concluded."""
        for picture in attempt.task.recognitions:
            if picture.id in run.unrecorded:
                run.pictures[picture.id] = picture
        run.unrecorded.clear()
        run.is_broken = True
        try:
            await self._handover.ended(attempt, self._conclude(attempt, run), begun)
        except Exception:  # the heartbeat finds a row that nobody holds and puts it back
            log.exception("attempt.abandoned", task_id=attempt.task.id)

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
            run.is_broken = True
            log.error("attempt.broken", task_id=attempt.task.id, exc_info=error)

    async def _limited(self, attempt: Attempt, run: _Run) -> None:
        try:
            async with asyncio.timeout(attempt.task.timeout_seconds), asyncio.TaskGroup() as group:
                for picture in attempt.task.recognitions:
                    if not picture.is_final:
                        group.create_task(self._one(attempt, run, picture))
        except TimeoutError:
            run.is_timed_out = True

    async def _one(self, attempt: Attempt, run: _Run, picture: Recognition) -> None:
        try:
            ended = await self._work.recognise(attempt.task, picture)
            reach("picture.recognised")
        except MusterError as error:
            if is_transient(error):
                run.transient[picture.id] = error
                return
            ended = self._work.failed(picture, error)
        run.pictures[picture.id] = run.unrecorded[picture.id] = ended
        if run.is_open and await self._handover.picture_ended(attempt, self._with(attempt.task, run), ended):
            run.unrecorded.pop(ended.id, None)

    # ---- conclude

    def _conclude(self, attempt: Attempt, run: _Run) -> Record:
        """Turn what happened into what is written; a run that was done before it was stopped counts."""
        task = self._with(attempt.task, run)
        end: End
        if run.is_open and attempt.stop_reason is StopReason.CANCELLED:
            end = Stopped()
        elif run.is_open and attempt.stop_reason is StopReason.DRAINED:
            end = PutBack(why="drained")
        else:
            task, end = self._decide(task, run)
        return Record(task=task, ended_pictures=tuple(run.unrecorded.values()), end=end)

    def _decide(self, task: Task, run: _Run) -> tuple[Task, End]:
        if run.is_broken and task.failures + 1 < self._max_failures:
            # A mistake of ours: tried again like a failure, then given up.
            delay_seconds = task_retry_delay(task.failures)
            return task, PutBack(delay_seconds=delay_seconds, is_failure=True, why="internal error")
        if run.is_timed_out or run.is_broken:
            self._fail_open(run)
            task = self._with(task, run)
        is_over = run.is_timed_out or run.is_broken
        decision = after_run(task, run.transient, max_failures=self._max_failures, timed_out=is_over)
        if isinstance(decision, Retry):
            return task, PutBack(delay_seconds=decision.delay_seconds, is_failure=True, why="transient error")
        self._fail_open(run)
        return self._with(task, run), Finished(status=decision.status, error=decision.error)

    def _fail_open(self, run: _Run) -> None:
        """End what is still open: by its transient error, or else by what ended the run."""
        note = _INTERNAL if run.is_broken else TASK_TIMEOUT
        for picture in list(run.pictures.values()):
            if picture.is_final:
                continue
            error = run.transient.get(picture.id)
            ended = self._work.failed(picture, error) if error else self._work.given_up(picture, note)
            run.pictures[picture.id] = run.unrecorded[picture.id] = ended

    @staticmethod
    def _with(task: Task, run: _Run) -> Task:
        return replace(task, recognitions=tuple(run.pictures[picture.id] for picture in task.recognitions))
