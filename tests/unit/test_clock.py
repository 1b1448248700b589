"""The server's time, carried on by a process whose own clock may be wrong."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from core.clock import ServerClock, utc_now

TOMORROW = datetime(2031, 5, 6, 7, 8, 9, tzinfo=UTC)


def test_the_servers_time_passes_as_the_monotonic_clock_does() -> None:
    seconds = [100.0]
    clock = ServerClock(monotonic=lambda: seconds[0])
    clock.set(TOMORROW)
    seconds[0] += 1.5
    assert clock.now() == TOMORROW + timedelta(seconds=1.5)
    clock.set(TOMORROW)
    assert clock.now() == TOMORROW


def test_before_it_was_read_the_processs_own_time_must_do() -> None:
    assert abs(ServerClock().now() - utc_now()) < timedelta(seconds=5)
