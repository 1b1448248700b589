"""Waits between tries."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from core.domain.backoff import MAX_RETRY_SECONDS, delivery_delay, task_retry_delay

_SCHEDULE = (5.0, 60.0, 300.0)


@given(failures=st.integers(0, 2000))
def test_a_run_waits_at_most_twice_as_long_each_time_and_never_over_a_minute(failures: int) -> None:
    assert 0 <= task_retry_delay(failures) <= min(MAX_RETRY_SECONDS, 2 * 2 ** min(failures, 10))


def test_waits_differ_so_that_tasks_do_not_come_back_together() -> None:
    assert len({task_retry_delay(3) for _ in range(50)}) > 40


@given(asked=st.floats(-10, 1e6))
def test_a_server_that_asks_for_patience_gets_it_up_to_a_minute(asked: float) -> None:
    assert task_retry_delay(1, asked) == min(MAX_RETRY_SECONDS, max(0.0, asked))


@given(tries=st.integers(1, 3))
def test_a_delivery_waits_by_its_schedule_within_a_tenth(tries: int) -> None:
    delay = delivery_delay(tries, _SCHEDULE)
    assert delay is not None
    assert 0.9 * _SCHEDULE[tries - 1] <= delay <= 1.1 * _SCHEDULE[tries - 1]


def test_a_delivery_is_given_up_after_its_schedule() -> None:
    assert delivery_delay(4, _SCHEDULE) is None
    assert delivery_delay(1, ()) is None


def test_a_receiver_may_ask_for_longer_waits_but_not_for_shorter_ones_or_over_a_day() -> None:
    assert delivery_delay(1, _SCHEDULE, 100.0) == 100.0
    assert delivery_delay(1, _SCHEDULE, 1e9) == 86_400.0
    shorter = delivery_delay(2, _SCHEDULE, 1.0)
    assert shorter is not None
    assert shorter >= 54.0
