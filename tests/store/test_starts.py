"""Starting attempts: one start per attempt, by whoever still may."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from uuid import uuid4

import pytest

from core.domain.routing import member_of_task
from core.domain.task import TaskStatus
from core.store.attempts import PutBack
from core.store.starts import Starter, Starts
from core.store.types import server_now
from tests.support.store import Store, promised

_MINE, _OTHER = "claim-1", "claim-2"


async def test_a_start_fills_the_row_and_frees_the_dedup_slot(store: Store) -> None:
    waiting = await store.pending(dedup_key="gate", dedup_mode="replace", timeout_seconds=90)
    worker_id, token = await store.open_worker(), uuid4().hex

    starts = await store.start(waiting, worker_id=worker_id, token=token)

    row = await store.task_row(waiting)
    assert (row.status, row.attempt, row.worker_id, row.claim_token) == ("in_progress", 1, worker_id, token)
    assert row.dedup_slot is None
    assert row.started_at == row.updated_at
    assert row.deadline_at - row.started_at == timedelta(seconds=90)
    assert starts.is_open
    (begun,) = starts.tasks
    stored = await store.reload(waiting)
    assert replace(begun, updated_at=None) == replace(stored, updated_at=None)


async def test_a_start_from_its_message_is_the_same_as_one_from_its_row(store: Store) -> None:
    first, second = await store.pending(2), await store.pending(2)
    (from_message,) = (await store.start(first, known=True)).tasks
    (from_row,) = (await store.start(second)).tasks
    for begun in (from_message, from_row):
        stored = await store.reload(begun)
        assert replace(begun, updated_at=None) == replace(stored, updated_at=None)


async def test_a_claim_starts_all_that_may_start(store: Store) -> None:
    tasks = [await store.pending() for _ in range(5)]
    await store.set_task(tasks[1], status="cancelled")
    await store.set_task(tasks[3], attempt=4)
    starts = await store.start(*tasks)
    assert {begun.id for begun in starts.tasks} == {tasks[0].id, tasks[2].id, tasks[4].id}


@pytest.mark.parametrize("already_made", [0, 2])
async def test_another_attempt_than_the_next_is_not_started(store: Store, already_made: int) -> None:
    waiting = await store.pending()
    await store.set_task(waiting, attempt=1)
    assert (await store.start(replace(waiting, attempt=already_made))).tasks == ()
    assert (await store.task_row(waiting)).status == "pending"


@pytest.mark.parametrize("status", [status for status in TaskStatus if status is not TaskStatus.PENDING])
async def test_only_a_pending_task_is_started(store: Store, status: TaskStatus) -> None:
    waiting = await store.pending()
    await store.set_task(waiting, status=status)
    starts = await store.start(waiting)
    assert (starts.tasks, starts.is_open) == ((), True)
    assert (await store.task_row(waiting)).status == status


async def test_a_task_that_its_caller_wants_stopped_is_not_started(store: Store) -> None:
    waiting = await store.pending()
    await store.set_task(waiting, cancel_requested=True)
    assert (await store.start(waiting)).tasks == ()


async def test_a_task_past_its_queue_ttl_is_not_started(store: Store) -> None:
    waiting = await store.pending()
    await store.set_task(waiting, queue_expires_at=server_now(-0.5))
    assert (await store.start(waiting)).tasks == ()


async def test_a_task_that_was_started_once_is_started_again_past_its_queue_ttl(store: Store) -> None:
    begun = await store.running()
    await store.record(begun, end=PutBack())
    await store.set_task(begun, queue_expires_at=server_now(-0.5))
    assert [again.attempt for again in (await store.start(begun)).tasks] == [2]


async def test_a_closed_worker_starts_nothing_and_is_told(store: Store) -> None:
    waiting, worker_id = await store.pending(), await store.open_worker()
    await store.lapse_worker(worker_id, closed=True)
    starts = await store.start(waiting, worker_id=worker_id)
    assert (starts.tasks, starts.is_open) == ((), False)


async def test_a_worker_that_never_registered_starts_nothing(store: Store) -> None:
    starts = await store.start(await store.pending(), worker_id="unheard-of")
    assert (starts.tasks, starts.is_open) == ((), False)


async def test_only_the_first_start_of_a_series_is_called_back(store: Store) -> None:
    waiting = await store.pending()
    starts = await store.start(waiting)
    assert promised(starts.deliveries) == ["task.started"]
    await store.record(starts.tasks[0], end=PutBack())

    again = await store.start(starts.tasks[0])
    assert promised(again.deliveries) == []
    assert again.tasks[0].started_at == starts.tasks[0].started_at
    assert await store.events(waiting) == ["task.started"]


async def test_a_task_that_did_not_subscribe_is_started_in_silence(store: Store) -> None:
    waiting = await store.pending(callback_events=("task.completed",))
    assert (await store.start(waiting)).deliveries == ()
    assert await store.events(waiting) == []


async def test_one_of_eight_starters_wins_each_attempt(store: Store, other_store: Store) -> None:
    tasks = [await store.pending() for _ in range(4)]
    members = [member_of_task(one) for one in tasks]
    workers = [await store.open_worker() for _ in range(8)]

    async def start(number: int) -> Starts:
        of = (store, other_store)[number % 2]
        starter = Starter(of.db, of.ids, of.promises)
        return await starter.start(members, {}, worker_id=workers[number], token=f"token-{number}")

    found = await asyncio.gather(*(start(number) for number in range(8)))

    won = [begun.id for starts in found for begun in starts.tasks]
    assert sorted(won) == [one.id for one in tasks]
    for starts in found:
        for begun in starts.tasks:
            assert (await store.task_row(begun)).claim_token == begun.claim_token
    for one in tasks:
        assert await store.events(one) == ["task.started"]
        assert [line.to_status for line in await store.history(one)] == ["pending", "in_progress"]


async def test_a_start_whose_answer_was_lost_is_won_again_and_noted_once(store: Store) -> None:
    waiting, worker_id = await store.pending(), await store.open_worker()
    first = await store.start(waiting, worker_id=worker_id, token=_MINE)
    again = await store.start(waiting, worker_id=worker_id, token=_MINE)

    assert again.tasks == first.tasks
    assert promised(first.deliveries) == ["task.started"]
    assert again.deliveries == ()
    assert await store.events(waiting) == ["task.started"]
    assert [line.why for line in await store.history(waiting)] == ["submitted", "attempt started"]


async def test_a_repeated_claim_starts_what_has_become_free_meanwhile(store: Store) -> None:
    early, late = await store.pending(), await store.pending()
    worker_id = await store.open_worker()
    await store.set_task(late, cancel_requested=True)
    await store.start(early, late, worker_id=worker_id, token=_MINE)
    await store.set_task(late, cancel_requested=False)

    again = await store.start(early, late, worker_id=worker_id, token=_MINE)

    assert {begun.id for begun in again.tasks} == {early.id, late.id}
    assert [one.task_id for one in again.deliveries] == [late.id]
    for one in (early, late):
        assert await store.events(one) == ["task.started"]


async def test_another_token_does_not_see_a_running_attempt_as_its_own(store: Store) -> None:
    waiting, worker_id = await store.pending(), await store.open_worker()
    await store.start(waiting, worker_id=worker_id, token=_MINE)
    assert (await store.start(waiting, worker_id=worker_id, token=_OTHER)).tasks == ()
