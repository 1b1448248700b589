"""When a receiver's host is left alone, and when no longer."""

from __future__ import annotations

from worker.breakers import FREED_AGAIN_SECONDS, MAX_PAUSE_SECONDS, Breakers


class _Clock:
    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


def breakers(clock: _Clock) -> Breakers:
    return Breakers(failures=5, first_pause_seconds=30, clock=clock)


def test_the_fifth_failure_in_a_row_pauses_the_host() -> None:
    mine = breakers(_Clock())
    assert [mine.failed("a") for _ in range(5)] == [None, None, None, None, 30]
    assert mine.is_paused("a")
    assert not mine.is_paused("b")


def test_a_success_in_between_starts_the_count_anew() -> None:
    mine = breakers(_Clock())
    for _ in range(4):
        mine.failed("a")
    mine.succeeded("a")
    assert [mine.failed("a") for _ in range(4)] == [None] * 4


def test_what_was_under_way_when_the_pause_began_does_not_double_it() -> None:
    clock = _Clock()
    mine = breakers(clock)
    assert [mine.failed("a") for _ in range(9)][4:] == [30, None, None, None, None]
    clock.seconds += 30
    assert mine.failed("a") == 60


def test_the_pause_doubles_with_every_failed_probe_up_to_ten_minutes() -> None:
    clock = _Clock()
    mine = breakers(clock)
    pauses = []
    for _ in range(40):
        pause = mine.failed("a")
        if pause is not None:
            pauses.append(pause)
            clock.seconds += pause
    assert pauses[:6] == [30, 60, 120, 240, 480, 600]
    assert set(pauses[6:]) == {MAX_PAUSE_SECONDS}


def test_a_probe_that_succeeds_frees_the_host() -> None:
    clock = _Clock()
    mine = breakers(clock)
    for _ in range(5):
        mine.failed("a")
    assert mine.succeeded("a")
    assert not mine.is_paused("a")
    assert [mine.failed("a") for _ in range(5)][-1] == 30


def test_the_probe_of_a_pause_that_another_worker_began_frees_the_host_too() -> None:
    clock = _Clock()
    mine = breakers(clock)
    assert mine.succeeded("a")
    assert not mine.succeeded("a")
    clock.seconds += FREED_AGAIN_SECONDS
    assert mine.succeeded("a")
    mine.failed("a")
    assert mine.succeeded("a")


def test_hosts_are_counted_apart() -> None:
    mine = breakers(_Clock())
    for _ in range(4):
        mine.failed("a")
    assert mine.failed("b") is None
    assert mine.failed("a") == 30
