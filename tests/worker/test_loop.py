"""The machinery of loops: interval, errors, stop."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from time import monotonic

import pytest
from structlog.testing import capture_logs

from core.errors import DatabaseUnavailable, LeaseLost
from worker.loop import Loop

LONG_SECONDS = 3600.0


def failing_first(error: BaseException, times: int, done: asyncio.Event) -> Callable[[], Awaitable[None]]:
    """A step that fails so often before it succeeds."""
    left = times

    async def step() -> None:
        nonlocal left
        if left > 0:
            left -= 1
            raise error
        done.set()
        await asyncio.sleep(0)

    return step


async def run_until(loop: Loop, done: asyncio.Event) -> None:
    running = asyncio.create_task(loop.run())
    async with asyncio.timeout(10):
        await done.wait()
        loop.stop()
        await running


async def test_a_step_that_fails_is_logged_and_tried_again() -> None:
    done = asyncio.Event()
    loop = Loop("some", failing_first(ZeroDivisionError("a mistake"), 1, done))
    with capture_logs() as lines:
        await run_until(loop, done)
    assert [(line["event"], line["log_level"], line["failures"]) for line in lines] == [
        ("loop.failed", "error", 1)
    ]


@pytest.mark.parametrize("error", [DatabaseUnavailable(), LeaseLost()])
async def test_what_passes_by_itself_is_told_in_one_line(error: Exception) -> None:
    done = asyncio.Event()
    with capture_logs() as lines:
        await run_until(Loop("some", failing_first(error, 2, done)), done)
    assert [(line["event"], line["failures"]) for line in lines] == [
        ("loop.interrupted", 1),
        ("loop.interrupted", 2),
    ]
    assert all("exc_info" not in line for line in lines)


async def test_a_failed_step_does_not_wait_for_its_whole_interval() -> None:
    done = asyncio.Event()
    loop = Loop("some", failing_first(DatabaseUnavailable(), 2, done), every_seconds=LONG_SECONDS)
    await run_until(loop, done)


async def test_stop_wakes_a_loop_that_waits_for_its_interval() -> None:
    stepped = asyncio.Event()

    async def step() -> None:
        stepped.set()

    begun = monotonic()
    await run_until(Loop("some", step, every_seconds=LONG_SECONDS), stepped)
    assert monotonic() - begun < 1.0


async def test_stop_lets_the_current_step_end() -> None:
    begun, gate, ended = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def step() -> None:
        begun.set()
        await gate.wait()
        ended.set()

    loop = Loop("some", step)
    running = asyncio.create_task(loop.run())
    await begun.wait()
    loop.stop()
    assert not running.done()
    gate.set()
    await running
    assert ended.is_set()


async def test_a_cancelled_step_ends_the_loop() -> None:
    begun = asyncio.Event()

    async def step() -> None:
        begun.set()
        await asyncio.Event().wait()

    running = asyncio.create_task(Loop("some", step).run())
    await begun.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running


async def test_steps_are_spread_and_none_follows_a_failed_one_at_once() -> None:
    asked: list[tuple[float, float]] = []

    def least(low: float, high: float) -> float:
        asked.append((low, high))
        return low

    done = asyncio.Event()
    step = failing_first(DatabaseUnavailable(), 3, done)
    await run_until(Loop("some", step, every_seconds=1.0, draw=least), done)
    assert asked[:6:2] == [(0.7, 1.3)] * 3
    assert asked[1:6:2] == [(0.01, 0.2), (0.01, 0.4), (0.01, 0.8)]
