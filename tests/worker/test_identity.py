"""Who a worker is, and when it may call others dead."""

from __future__ import annotations

import pytest

from core.errors import DatabaseUnavailable
from worker.identity import Identity

LEASE_SECONDS = 15.0


class _Clock:
    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


def identity(clock: _Clock) -> Identity:
    return Identity(models=("picture",), slots=2, lease_seconds=LEASE_SECONDS, clock=clock)


def beat(mine: Identity, clock: _Clock, *gaps_seconds: float) -> None:
    for gap in gaps_seconds:
        clock.seconds += gap
        mine.beat()


def test_a_worker_is_steady_after_a_whole_lease_of_heartbeats() -> None:
    clock = _Clock()
    mine = identity(clock)
    seen = []
    for gap in (0, 5, 5, 4.9, 0.1):
        beat(mine, clock, gap)
        seen.append(mine.is_steady)
    assert seen == [False, False, False, False, True]


def test_a_worker_that_never_beat_is_not_steady() -> None:
    clock = _Clock()
    mine = identity(clock)
    clock.seconds += 100
    assert not mine.is_steady


def test_a_gap_of_more_than_two_beats_starts_the_count_anew() -> None:
    clock = _Clock()
    mine = identity(clock)
    beat(mine, clock, 0, 5, 5, 5)
    assert mine.is_steady
    beat(mine, clock, 10.1)
    assert not mine.is_steady
    beat(mine, clock, 5, 5)
    assert not mine.is_steady
    beat(mine, clock, 5)
    assert mine.is_steady


def test_heartbeats_that_stopped_make_a_worker_unsteady_before_anybody_notices() -> None:
    clock = _Clock()
    mine = identity(clock)
    beat(mine, clock, 0, 5, 5, 5)
    clock.seconds += 10.1
    assert not mine.is_steady


def test_a_renewed_worker_has_another_name_and_is_not_steady() -> None:
    clock = _Clock()
    mine = identity(clock)
    beat(mine, clock, 0, 5, 5, 5)
    before, token = mine.boot_id, mine.next_token()
    mine.renew()
    assert mine.boot_id != before
    assert not mine.is_steady
    assert mine.row().id == mine.boot_id
    assert mine.next_token() != token


def test_no_two_claims_share_a_token() -> None:
    clock = _Clock()
    one, other = identity(clock), identity(clock)
    tokens = [mine.next_token() for mine in (one, other) for _ in range(100)]
    assert len(set(tokens)) == 200


def test_a_worker_whose_heartbeats_fail_starts_nothing_new() -> None:
    clock = _Clock()
    mine = identity(clock)
    assert not mine.is_fresh
    beat(mine, clock, 0)
    clock.seconds += 9.9
    mine.refuse_unless_fresh()
    clock.seconds += 0.2
    with pytest.raises(DatabaseUnavailable):
        mine.refuse_unless_fresh()
    beat(mine, clock, 0)
    assert mine.is_fresh
