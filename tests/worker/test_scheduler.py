"""The timetable of duties."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from core.errors import QueueUnavailable
from worker.loops.scheduler import Scheduler

LONG_SECONDS = 3600.0
LIMIT_SECONDS = 10.0


@pytest.fixture
async def scheduler() -> AsyncIterator[Scheduler]:
    """Give a scheduler that is not started yet."""
    made = Scheduler()
    yield made
    await made.stop(LIMIT_SECONDS)


async def test_a_duty_that_is_hurried_does_not_wait_for_its_time(scheduler: Scheduler) -> None:
    done = asyncio.Event()

    async def duty() -> None:
        done.set()

    scheduler.every(LONG_SECONDS, "rare", duty)
    scheduler.start()
    scheduler.hurry("rare")
    async with asyncio.timeout(LIMIT_SECONDS):
        await done.wait()


async def test_a_duty_that_is_at_work_is_not_begun_a_second_time(scheduler: Scheduler) -> None:
    times, begun, may_end, other = [0], asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def duty() -> None:
        times[0] += 1
        begun.set()
        await may_end.wait()

    async def end() -> None:
        other.set()

    scheduler.every(LONG_SECONDS, "rare", duty)
    scheduler.every(LONG_SECONDS, "other", end)
    scheduler.start()
    scheduler.hurry("rare")
    async with asyncio.timeout(LIMIT_SECONDS):
        await begun.wait()
        scheduler.hurry("rare")
        scheduler.hurry("other")
        await other.wait()
    assert times == [1]
    may_end.set()


async def test_a_duty_that_fails_comes_again(scheduler: Scheduler) -> None:
    again, times = asyncio.Event(), [0]

    async def duty() -> None:
        times[0] += 1
        if times[0] < 3:
            raise (QueueUnavailable, ZeroDivisionError)[times[0] - 1]
        again.set()

    scheduler.every(0.05, "often", duty)
    scheduler.start()
    async with asyncio.timeout(LIMIT_SECONDS):
        await again.wait()
