"""What follows from a run or a try: the decision, as a value."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from core.domain.backoff import delivery_delay, task_retry_delay
from core.domain.delivery import DeliveryStatus
from core.domain.recognition import ErrorNote, Recognition, RecognitionStatus
from core.domain.task import Task, TaskStatus
from core.errors import FetchStatus, MusterError

ATTEMPTS_EXHAUSTED = "attempts_exhausted"
TASK_TIMEOUT = ErrorNote(code="task_timeout", message="The task took longer than timeout_seconds.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Retry:
    """Run again after a wait; open pictures stay open."""

    delay_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """The task has ended."""

    status: TaskStatus
    error: ErrorNote | None = None


def is_transient(error: MusterError) -> bool:
    """Whether the same picture may succeed later."""
    return error.is_transient if isinstance(error, FetchStatus) else error.retryable


def after_run(
    task: Task, transient: Mapping[int, MusterError], *, max_failures: int, timed_out: bool = False
) -> Retry | Done:
    """Say what follows a run whose ended pictures are in `task` and whose transient errors are given by id.

    A task that ran out of its own time is not tried again; what it has counts.
    """
    if transient and not timed_out and task.failures + 1 < max_failures:
        waits = [error.retry_after_seconds for error in transient.values() if isinstance(error, FetchStatus)]
        longest = max((wait for wait in waits if wait is not None), default=None)
        return Retry(delay_seconds=task_retry_delay(task.failures, longest))
    if task.images_completed > 0:
        return Done(status=TaskStatus.COMPLETED)
    errors = {error.code: error for error in _errors(task.recognitions)}
    errors |= {error.code: ErrorNote(code=error.code, message=error.message) for error in transient.values()}
    if len(errors) == 1:
        return Done(status=TaskStatus.FAILED, error=next(iter(errors.values())))
    message = f"No picture succeeded: {', '.join(sorted(errors))}."
    return Done(status=TaskStatus.FAILED, error=ErrorNote(code=ATTEMPTS_EXHAUSTED, message=message))


def _errors(pictures: tuple[Recognition, ...]) -> list[ErrorNote]:
    failed = (picture for picture in pictures if picture.status is RecognitionStatus.FAILED)
    return [picture.error for picture in failed if picture.error is not None]


@dataclass(frozen=True, slots=True, kw_only=True)
class TryOutcome:
    """What a try of a delivery leads to: a new status, after a wait when it is pending again."""

    status: DeliveryStatus
    delay_seconds: float = 0.0
    error_code: str | None = None


def is_received(status_code: int, reply: str) -> bool:
    """Whether a reply says that the callback arrived.

    A 2xx, unless it is a JSON object with a numeric `code` other than 200 or with `success: false`:
    receivers that answer in envelopes say so when they have failed.
    """
    if not 200 <= status_code <= 299:
        return False
    try:
        told = json.loads(reply) if reply.lstrip()[:1] == "{" else None
    except ValueError:
        return True
    if not isinstance(told, dict):
        return True
    code = told.get("code")
    is_number = isinstance(code, (int, float)) and not isinstance(code, bool)
    return not (is_number and code != 200) and told.get("success") is not False


def after_reply(
    status_code: int,
    reply: str,
    *,
    tries_before: int,
    schedule_seconds: tuple[float, ...],
    retry_after_seconds: float | None = None,
) -> TryOutcome:
    """Say what a receiver's answer leads to: 410 ends it, 429 and 503 may ask for patience."""
    if is_received(status_code, reply):
        return TryOutcome(status=DeliveryStatus.DELIVERED)
    if status_code == 410:
        return TryOutcome(status=DeliveryStatus.REFUSED, error_code="callback_gone")
    wait = retry_after_seconds if status_code in (429, 503) else None
    code = "callback_not_accepted" if 200 <= status_code <= 299 else "callback_http_status"
    return after_failure(
        code, tries_before=tries_before, schedule_seconds=schedule_seconds, wait_seconds=wait
    )


def after_failure(
    error_code: str,
    *,
    tries_before: int,
    schedule_seconds: tuple[float, ...],
    wait_seconds: float | None = None,
    is_final: bool = False,
) -> TryOutcome:
    """Say what a try that failed leads to: another one by the schedule, or the end."""
    delay = None if is_final else delivery_delay(tries_before + 1, schedule_seconds, wait_seconds)
    if delay is None:
        return TryOutcome(status=DeliveryStatus.DEAD, error_code=error_code)
    return TryOutcome(status=DeliveryStatus.PENDING, delay_seconds=delay, error_code=error_code)
