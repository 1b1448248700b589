"""What a worker holds, and stopping it."""

from __future__ import annotations

import asyncio

from core.domain.routing import QueueName, member_of_task
from core.queue.lease import Lease
from tests.support.tasks import some_task
from worker.attempt import Attempt, Carriers, Holdings, StopReason


def attempt(claim: str = "t") -> Attempt:
    task = some_task()
    lease = Lease(member=member_of_task(task), token=claim, expires_at_ms=0)
    return Attempt(task=task, lease=lease, queue=QueueName.RECOGNITION)


def held(claim: str = "t") -> tuple[Holdings, Attempt]:
    holdings, mine = Holdings(), attempt(claim)
    holdings.note(mine.task.id, claim)
    holdings.hold(mine)
    return holdings, mine


def test_the_first_reason_to_stop_counts_but_a_lost_row_counts_above_all() -> None:
    mine, seen = attempt(), []
    for reason in (StopReason.CANCELLED, StopReason.DRAINED, StopReason.LOST, StopReason.DRAINED):
        mine.stop(reason)
        seen.append(mine.stop_reason)
    assert seen == [StopReason.CANCELLED, StopReason.CANCELLED, StopReason.LOST, StopReason.LOST]


async def test_stopping_cancels_the_work_once() -> None:
    mine = attempt()
    cancellations = 0

    async def work() -> None:
        nonlocal cancellations
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancellations += 1
            raise

    mine.work = asyncio.create_task(work())
    await asyncio.sleep(0)
    mine.stop(StopReason.DRAINED)
    mine.stop(StopReason.LOST)
    await asyncio.wait([mine.work])
    assert (mine.work.cancelled(), cancellations) == (True, 1)


def test_a_token_is_known_before_the_attempt_is() -> None:
    holdings, mine = Holdings(), attempt()
    holdings.note(mine.task.id, "t")
    assert (holdings.token_of(mine.task.id), holdings.find(mine.task.id), len(holdings)) == ("t", None, 0)


def test_a_task_held_under_a_newer_token_is_not_forgotten() -> None:
    holdings, mine = held("old")
    holdings.note(mine.task.id, "new")
    holdings.forget(mine.task.id, "old")
    assert holdings.token_of(mine.task.id) == "new"
    holdings.forget(mine.task.id, "new")
    assert (holdings.token_of(mine.task.id), list(holdings)) == (None, [])


def test_a_cancellation_stops_the_attempt_it_names() -> None:
    holdings, mine = held()
    holdings.cancel(mine.task.id, mine.task.attempt + 1)
    holdings.cancel(mine.task.id + 1, mine.task.attempt)
    assert mine.stop_reason is None
    holdings.cancel(mine.task.id, mine.task.attempt)
    assert mine.stop_reason is StopReason.CANCELLED


def test_a_cancellation_that_comes_before_the_start_is_known_here_is_kept() -> None:
    holdings, mine = Holdings(), attempt()
    holdings.note(mine.task.id, "t")
    holdings.cancel(mine.task.id, mine.task.attempt)
    holdings.hold(mine)
    assert mine.stop_reason is StopReason.CANCELLED


def test_a_cancellation_of_what_is_not_held_is_not_kept() -> None:
    holdings, mine = Holdings(), attempt()
    holdings.cancel(mine.task.id, mine.task.attempt)
    holdings.note(mine.task.id, "t")
    holdings.hold(mine)
    assert mine.stop_reason is None


async def test_carriers_that_are_left_are_cancelled_and_waited_for() -> None:
    ended = []

    async def carry(name: str) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            ended.append(name)

    async with asyncio.TaskGroup() as group:
        carriers = Carriers(group)
        carriers.start(carry("a"))
        carriers.start(carry("b"))
        await asyncio.sleep(0)
        await carriers.end(5)
        assert sorted(ended) == ["a", "b"]
        await carriers.end(5)
