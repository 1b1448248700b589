"""What reapers and the reconciler do to rows."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from core.domain.recognition import RecognitionStatus
from core.domain.task import TaskStatus
from core.store.attempts import Finished, PutBack
from core.store.types import server_now
from core.store.upkeep import (
    Moved,
    expire_tasks,
    read_scan_mark,
    take_back_lost,
    write_scan_mark,
)
from tests.support.store import CAPTURED, Store, promised, recognised

_DONE = Finished(status=TaskStatus.COMPLETED)


async def _take_back(store: Store, max_crashes: int = 3, **limit: int) -> list[Moved]:
    return await take_back_lost(store.db, store.ids, store.promises, max_crashes=max_crashes, **limit)


async def _expire(store: Store, **limit: int) -> list[Moved]:
    return await expire_tasks(store.db, store.ids, store.promises, **limit)


async def test_a_task_that_waited_too_long_expires(store: Store) -> None:
    late = await store.pending(2, dedup_key="gate", dedup_mode="replace")
    early = await store.pending()
    await store.set_task(late, queue_expires_at=server_now(-0.1))

    (found,) = await _expire(store)

    stored = await store.reload(late)
    assert (found.after.id, found.after.recognitions) == (late.id, stored.recognitions)
    assert (found.before.status, promised(found.deliveries)) == (TaskStatus.PENDING, ["task.expired"])
    assert (stored.status, stored.error and stored.error.code) == (TaskStatus.EXPIRED, "queue_ttl_exceeded")
    assert {picture.status for picture in stored.recognitions} == {"failed"}
    assert (await store.task_row(late)).dedup_slot is None
    assert await store.events(late) == ["task.expired"]
    assert (await store.history(late))[-1].to_status is TaskStatus.EXPIRED
    assert (await store.reload(early)).status is TaskStatus.PENDING
    assert await _expire(store) == []


async def test_a_task_that_was_started_once_does_not_expire(store: Store) -> None:
    begun = await store.running()
    await store.record(begun, end=PutBack())
    await store.set_task(begun, queue_expires_at=server_now(-60.0))
    assert await _expire(store) == []


async def test_two_reconcilers_expire_a_task_once(store: Store, other_store: Store) -> None:
    late = [await store.pending() for _ in range(20)]
    for one in late:
        await store.set_task(one, queue_expires_at=server_now(-0.1))
    found = await asyncio.gather(*(_expire(of) for of in (store, other_store)))
    assert sorted(one.after.id for part in found for one in part) == [one.id for one in late]
    assert all(promised(one.deliveries) == ["task.expired"] for part in found for one in part)
    assert await store.count("delivery") == 20


async def test_tasks_expire_a_page_at_a_time(store: Store) -> None:
    for _ in range(5):
        await store.set_task(await store.pending(), queue_expires_at=server_now(-0.1))
    assert [len(await _expire(store, limit=2)) for _ in range(4)] == [2, 2, 1, 0]


async def test_a_task_of_a_living_worker_is_left_alone(store: Store) -> None:
    begun = await store.running()
    assert await _take_back(store) == []
    await store.set_task(begun, deadline_at=server_now(-29.0))
    assert await _take_back(store) == []


@pytest.mark.parametrize("is_declared", [True, False], ids=["worker closed", "deadline long past"])
async def test_a_lost_task_goes_back_and_is_counted(store: Store, is_declared: bool) -> None:
    begun = await store.running()
    if is_declared:
        await store.lose_worker(begun)
    else:
        await store.set_task(begun, deadline_at=server_now(-31.0))

    (found,) = await _take_back(store)

    row = await store.task_row(begun)
    assert (found.before.status, found.after.status) == (TaskStatus.IN_PROGRESS, TaskStatus.PENDING)
    assert (row.status, row.attempt, row.failures, row.crashes) == ("pending", 1, 0, 1)
    assert (row.next_attempt_at, found.deliveries) == (None, ())
    assert row.updated_at > begun.started_at
    last = (await store.history(begun))[-1]
    assert (last.from_status, last.to_status, last.why) == ("in_progress", "pending", "worker lost")
    assert await _take_back(store) == []


async def test_a_task_that_lost_three_workers_fails(store: Store) -> None:
    current = await store.running(2)
    for crashes in (1, 2):
        await store.lose_worker(current)
        (found,) = await _take_back(store)
        assert found.after.crashes == crashes
        (current,) = (await store.start(found.after)).tasks
    await store.record(current, recognised(current.recognitions[0]))
    await store.lose_worker(current)

    (found,) = await _take_back(store)

    stored = await store.reload(current)
    assert found.after.status is stored.status is TaskStatus.FAILED
    assert (stored.crashes, stored.error and stored.error.code) == (3, "worker_lost")
    assert [p.status for p in stored.recognitions] == [RecognitionStatus.COMPLETED, RecognitionStatus.FAILED]
    assert found.after.recognitions == stored.recognitions
    assert promised(found.deliveries) == ["task.failed"]
    assert await store.events(current) == ["task.started", "task.image", "task.failed"]


async def test_a_lost_task_that_was_to_be_stopped_is_cancelled(store: Store) -> None:
    begun = await store.running()
    await store.ask_to_stop(begun)
    await store.lose_worker(begun)
    (found,) = await _take_back(store, max_crashes=1)
    stored = await store.reload(begun)
    assert found.after.status is stored.status is TaskStatus.CANCELLED
    assert promised(found.deliveries) == ["task.cancelled"]
    assert await store.events(begun) == ["task.started", "task.cancelled"]


async def test_a_worker_that_wakes_after_its_loss_writes_nothing_and_knows_it(store: Store) -> None:
    for max_crashes in (3, 1):
        begun = await store.running()
        await store.lose_worker(begun)
        await _take_back(store, max_crashes)
        before = (await store.reload(begun), await store.events(begun))
        for end in (None, _DONE, PutBack()):
            written = await store.record(begun, recognised(begun.recognitions[0]), end=end)
            assert not written.recorded.won
        assert (await store.reload(begun), await store.events(begun)) == before


async def test_two_reapers_count_a_loss_once(store: Store, other_store: Store) -> None:
    begun = [await store.running() for _ in range(10)]
    for one in begun:
        await store.lose_worker(one)
    found = await asyncio.gather(*(_take_back(of) for of in (store, other_store)))
    assert sorted(one.after.id for part in found for one in part) == [one.id for one in begun]
    assert {(await store.task_row(one)).crashes for one in begun} == {1}


async def test_a_reaper_and_a_finishing_worker_have_one_winner(store: Store, other_store: Store) -> None:
    for _ in range(10):
        begun = await store.running(callback_events=("task.completed", "task.failed"))
        await store.lose_worker(begun)
        found, written = await asyncio.gather(
            _take_back(other_store, max_crashes=1),
            store.record(begun, recognised(begun.recognitions[0]), end=_DONE),
        )
        assert (len(found) == 1) != written.recorded.won
        assert len(await store.events(begun)) == 1


async def test_a_scan_mark_is_kept_by_queue(store: Store) -> None:
    assert await read_scan_mark(store.db, "recognition") is None
    await write_scan_mark(store.db, "recognition", CAPTURED)
    await write_scan_mark(store.db, "solo", CAPTURED + timedelta(seconds=1))
    await write_scan_mark(store.db, "recognition", CAPTURED + timedelta(seconds=2))
    assert await read_scan_mark(store.db, "recognition") == CAPTURED + timedelta(seconds=2)
    assert await store.count("queue_state") == 2


async def test_many_processes_may_write_the_first_scan_mark_at_once(store: Store, other_store: Store) -> None:
    for name in ("a", "b", "c", "d"):
        await asyncio.gather(
            *(write_scan_mark(of.db, name, CAPTURED) for of in (store, other_store) for _ in range(4))
        )
        assert await read_scan_mark(store.db, name) == CAPTURED
