"""What follows from a run or a try: tables of decisions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from core.domain.backoff import MAX_RETRY_SECONDS, delivery_delay, task_retry_delay
from core.domain.delivery import DeliveryStatus
from core.domain.recognition import ErrorNote, Recognition, RecognitionStatus
from core.domain.retry import (
    ATTEMPTS_EXHAUSTED,
    TASK_TIMEOUT,
    Done,
    Retry,
    after_failure,
    after_reply,
    after_run,
    is_received,
    is_transient,
)
from core.domain.task import Task, TaskStatus
from core.errors import (
    AreaOutsidePicture,
    BlockedAddress,
    DecodeFailed,
    FetchFailed,
    FetchStatus,
    FetchTimeout,
    MusterError,
    NotAnImage,
    PictureTooLarge,
    RecogniserCrashed,
    RecogniserTimeout,
    TooManyPixels,
)
from tests.support.tasks import FIRST_ID, SECOND_ID, recognised, some_recognition, some_task

SCHEDULE = (5.0, 60.0, 300.0)
_LASTING: list[Callable[[], MusterError]] = [
    AreaOutsidePicture,
    BlockedAddress,
    DecodeFailed,
    NotAnImage,
    PictureTooLarge,
    TooManyPixels,
]


def picture(position: int, code: str | None = None, *, done: bool = False) -> Recognition:
    one = some_recognition(position=position)
    if done:
        return recognised(one)
    if code is None:
        return one
    return replace(one, status=RecognitionStatus.FAILED, error=ErrorNote(code=code, message=code))


def task(*pictures: Recognition, failures: int = 0) -> Task:
    return replace(some_task(TaskStatus.IN_PROGRESS, recognitions=pictures), failures=failures)


def ended(decision: Retry | Done) -> tuple[str, str | None]:
    assert isinstance(decision, Done)
    return decision.status.value, decision.error.code if decision.error else None


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504, 599])
def test_a_status_that_may_pass_is_tried_again(status: int) -> None:
    assert is_transient(FetchStatus(status))


@pytest.mark.parametrize("status", [300, 304, 400, 401, 403, 404, 405, 410, 418, 451, 600])
def test_a_status_that_will_stay_is_not_tried_again(status: int) -> None:
    assert not is_transient(FetchStatus(status))


@pytest.mark.parametrize("error", [FetchTimeout, FetchFailed, RecogniserTimeout, RecogniserCrashed])
def test_time_outs_and_crashes_are_tried_again(error: Callable[[], MusterError]) -> None:
    assert is_transient(error())


@pytest.mark.parametrize("error", _LASTING)
def test_what_is_wrong_with_the_picture_itself_is_not_tried_again(error: Callable[[], MusterError]) -> None:
    assert not is_transient(error())


def test_every_picture_recognised_is_completed() -> None:
    assert ended(after_run(task(picture(0, done=True)), {}, max_failures=3)) == ("completed", None)


def test_one_picture_recognised_is_enough_to_be_completed() -> None:
    mixed = task(picture(0, done=True), picture(1, "image_decode_failed"))
    assert ended(after_run(mixed, {}, max_failures=3)) == ("completed", None)


def test_pictures_that_fail_alike_give_their_code_to_the_task() -> None:
    alike = task(picture(0, "image_http_status"), picture(1, "image_http_status"))
    assert ended(after_run(alike, {}, max_failures=3)) == ("failed", "image_http_status")


def test_pictures_that_fail_each_in_its_way_exhaust_the_attempts() -> None:
    unlike = task(picture(0, "image_http_status"), picture(1, "image_decode_failed"))
    decision = after_run(unlike, {}, max_failures=3)
    assert ended(decision) == ("failed", ATTEMPTS_EXHAUSTED)
    assert isinstance(decision, Done)
    assert decision.error is not None
    assert "image_decode_failed, image_http_status" in decision.error.message


def test_a_passing_error_of_the_last_run_counts_like_the_others() -> None:
    unlike = task(picture(0, "image_decode_failed"), picture(1), failures=2)
    assert ended(after_run(unlike, {SECOND_ID: FetchTimeout()}, max_failures=3)) == (
        "failed",
        ATTEMPTS_EXHAUSTED,
    )
    alike = task(picture(0, "image_fetch_timeout"), picture(1), failures=2)
    assert ended(after_run(alike, {SECOND_ID: FetchTimeout()}, max_failures=3)) == (
        "failed",
        "image_fetch_timeout",
    )


@pytest.mark.parametrize(("failures", "again"), [(0, True), (1, True), (2, False), (3, False)])
def test_three_runs_may_fail(failures: int, again: bool) -> None:
    decision = after_run(task(picture(0), failures=failures), {FIRST_ID: FetchFailed()}, max_failures=3)
    assert isinstance(decision, Retry) is again


def test_a_passing_error_is_tried_again_although_another_picture_is_done_or_lost() -> None:
    for other in (picture(0, done=True), picture(0, "image_decode_failed")):
        decision = after_run(task(other, picture(1)), {SECOND_ID: FetchFailed()}, max_failures=3)
        assert isinstance(decision, Retry)


def test_a_task_out_of_time_is_not_tried_again() -> None:
    late = replace(picture(1), status=RecognitionStatus.FAILED, error=TASK_TIMEOUT)
    some = after_run(task(picture(0, done=True), late), {}, max_failures=3, timed_out=True)
    none = after_run(task(late), {}, max_failures=3, timed_out=True)
    both = after_run(
        task(picture(0, "image_fetch_failed"), late),
        {FIRST_ID: FetchFailed()},
        max_failures=3,
        timed_out=True,
    )
    assert [ended(some), ended(none), ended(both)] == [
        ("completed", None),
        ("failed", "task_timeout"),
        ("failed", ATTEMPTS_EXHAUSTED),
    ]


def test_the_wait_is_uniform_up_to_twice_two_to_the_failures() -> None:
    for failures, most in ((0, 2.0), (1, 4.0), (2, 8.0), (9, MAX_RETRY_SECONDS), (5000, MAX_RETRY_SECONDS)):
        waits = [task_retry_delay(failures) for _ in range(400)]
        assert 0 <= min(waits) < most / 10
        assert most * 0.9 < max(waits) <= most


@pytest.mark.parametrize(("asked", "kept"), [(0, 0), (7, 7), (60, 60), (3600, 60), (-5, 0)])
def test_retry_after_is_kept_to_up_to_a_minute(asked: float, kept: float) -> None:
    assert task_retry_delay(0, asked) == kept
    error = FetchStatus(503, retry_after_seconds=asked)
    decision = after_run(task(picture(0)), {FIRST_ID: error}, max_failures=3)
    assert decision == Retry(delay_seconds=kept)


def test_the_most_patient_server_decides() -> None:
    errors = {FIRST_ID: FetchStatus(503, 3), SECOND_ID: FetchStatus(429, 9)}
    assert after_run(task(picture(0), picture(1)), errors, max_failures=3) == Retry(delay_seconds=9)


@pytest.mark.parametrize(
    ("status", "reply", "received"),
    [
        (200, "", True),
        (204, "", True),
        (202, "accepted", True),
        (299, "[]", True),
        (200, '{"code": 200, "success": true}', True),
        (200, '{"code": "500"}', True),
        (200, '{"code": true}', True),
        (200, '{"cut": "of', True),
        (200, '{"success": null}', True),
        (200, '{"code": 200.0}', True),
        (200, '{"code": 500}', False),
        (200, ' \n{"code": 0}', False),
        (200, '{"code": 200, "success": false}', False),
        (200, '{"success": false}', False),
        (199, "", False),
        (301, "", False),
        (404, "", False),
        (500, '{"code": 200}', False),
    ],
)
def test_a_callback_has_arrived_when_the_receiver_says_so(status: int, reply: str, received: bool) -> None:
    assert is_received(status, reply) is received


def reply_to(status: int, *, tries: int = 0, retry_after: float | None = None) -> tuple[str, float]:
    outcome = after_reply(
        status, "", tries_before=tries, schedule_seconds=SCHEDULE, retry_after_seconds=retry_after
    )
    return outcome.status.value, outcome.delay_seconds


def test_gone_ends_a_delivery_and_says_so() -> None:
    assert reply_to(410) == ("refused", 0)


@pytest.mark.parametrize(("tries", "planned"), [*enumerate(SCHEDULE)])
def test_a_failed_try_waits_as_the_schedule_says_give_or_take_a_tenth(tries: int, planned: float) -> None:
    waits = [reply_to(500, tries=tries)[1] for _ in range(300)]
    assert planned * 0.9 <= min(waits) < planned * 0.93
    assert planned * 1.07 < max(waits) <= planned * 1.1


def test_a_delivery_is_dead_after_its_schedule() -> None:
    assert reply_to(500, tries=3) == ("dead", 0)


@pytest.mark.parametrize(
    ("status", "retry_after", "least", "most"),
    [
        (503, 100, 100, 100),
        (429, 100, 100, 100),
        (503, 1, 4.5, 5.5),
        (500, 100, 4.5, 5.5),
        (503, 1e9, 86_400, 86_400),
    ],
)
def test_only_429_and_503_may_ask_for_more_patience(
    status: int, retry_after: float, least: float, most: float
) -> None:
    assert least <= reply_to(status, retry_after=retry_after)[1] <= most


def test_a_delivery_that_must_not_be_sent_is_dead_at_once() -> None:
    outcome = after_failure(
        "callback_blocked_address", tries_before=0, schedule_seconds=SCHEDULE, is_final=True
    )
    assert (outcome.status, outcome.error_code) == (DeliveryStatus.DEAD, "callback_blocked_address")


def test_an_empty_schedule_allows_one_try() -> None:
    assert delivery_delay(1, ()) is None
