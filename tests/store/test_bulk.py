"""Changes to many rows at once: the guards of the single change, in one transaction."""

from __future__ import annotations

import asyncio

from sqlalchemy import update

from core.domain.recognition import ErrorNote
from core.domain.task import Task, TaskStatus
from core.store.attempts import Finished
from core.store.bulk import BulkChange, cancel_tasks, changeable_page, count_changeable, retry_tasks
from core.store.changes import CancelKind, Cancelled, delete_task
from core.store.delivery_log import (
    DeliveryFilter,
    count_replayable,
    list_tries,
    replay_deliveries,
    replayable_page,
)
from core.store.queue_states import paused_queues, write_paused
from core.store.tables import delivery
from core.store.tasks import TaskFilter
from core.store.upkeep import read_scan_mark, write_scan_mark
from tests.support.store import Store, promised, recognised

_FAULT = ErrorNote(code="image_fetch_failed", message="The connection failed.")
_ALL = TaskFilter(system_code="farm")


async def _cancel(store: Store, *tasks: Task) -> list[Cancelled]:
    return await cancel_tasks(store.db, store.ids, store.promises, [one.id for one in tasks])


async def _failed(store: Store) -> Task:
    begun = await store.running(2)
    seen = recognised(begun.recognitions[0])
    end = Finished(status=TaskStatus.FAILED, error=_FAULT)
    return (await store.record(begun, seen, end=end)).recorded.task


async def test_many_are_cancelled_with_history_and_callbacks_and_final_ones_left(store: Store) -> None:
    waiting, running, failed = await store.pending(2), await store.running(), await _failed(store)

    met = await _cancel(store, waiting, running, failed)

    assert [(one.task.id, one.kind) for one in met] == [
        (waiting.id, CancelKind.WAITING),
        (running.id, CancelKind.RUNNING),
    ]
    assert promised([sent for one in met for sent in one.deliveries]) == ["task.cancelled"]
    assert await store.events(waiting) == ["task.cancelled"]
    after = await store.reload(waiting)
    assert (after.status, {p.status for p in after.recognitions}) == (TaskStatus.CANCELLED, {"failed"})
    assert (await store.history(waiting))[-1].why == "cancelled by its caller"
    assert (await store.reload(running)).cancel_requested
    assert (await store.reload(failed)).status is TaskStatus.FAILED
    assert await _cancel(store, waiting, running, failed) == []


async def test_a_cancellation_of_many_and_starts_at_once_have_one_winner_each(
    store: Store, other_store: Store
) -> None:
    waiting = [await store.pending() for _ in range(10)]
    met, starts = await asyncio.gather(_cancel(store, *waiting), other_store.start(*waiting))

    assert len(met) == len(waiting)
    started = {one.id for one in starts.tasks}
    for one in met:
        row = await store.task_row(one.task)
        if one.kind is CancelKind.WAITING:
            assert (row.status, one.task.id in started) == ("cancelled", False)
        else:
            assert (row.status, row.cancel_requested, one.task.id in started) == ("in_progress", True, True)


async def test_many_start_a_new_series_and_keep_what_was_recognised(store: Store) -> None:
    failed, waiting = [await _failed(store) for _ in range(2)], await store.pending()

    again = await retry_tasks(store.db, store.ids, [one.id for one in (*failed, waiting)])

    assert [(one.id, one.status, one.series) for one in again] == [
        (one.id, TaskStatus.PENDING, 2) for one in failed
    ]
    assert [[p.status for p in one.recognitions] for one in again] == [["completed", "pending"]] * 2
    line = (await store.history(failed[0]))[-1]
    assert (line.from_status, line.to_status, line.why) == ("failed", "pending", "retried by its owner")
    assert await retry_tasks(store.db, store.ids, [one.id for one in failed]) == []


async def test_of_two_retries_of_many_at_once_each_task_has_one(store: Store, other_store: Store) -> None:
    task_ids = [(await _failed(store)).id for _ in range(5)]
    found = await asyncio.gather(*(retry_tasks(of.db, of.ids, task_ids) for of in (store, other_store)))

    assert sorted(one.id for again in found for one in again) == task_ids


async def test_an_erased_task_among_many_is_left_out(store: Store) -> None:
    failed, gone = await _failed(store), await _failed(store)
    await delete_task(store.db, gone.id)

    again = await retry_tasks(store.db, store.ids, [failed.id, gone.id])

    assert [one.id for one in again] == [failed.id]


async def test_pages_and_count_name_what_can_be_changed_and_nothing_else(store: Store) -> None:
    waiting = [await store.pending() for _ in range(3)]
    failed, running = await _failed(store), await store.running()
    theirs = await store.pending(system_code="zoo")
    await store.ask_to_stop(running)

    async def page(change: BulkChange, wanted: TaskFilter, after_id: int = 0, limit: int = 9) -> list[int]:
        return await changeable_page(store.db, change, wanted, after_id=after_id, limit=limit)

    mine = [one.id for one in waiting]
    assert await page(BulkChange.CANCEL, _ALL) == mine
    assert await page(BulkChange.CANCEL, _ALL, limit=2) == mine[:2]
    assert await page(BulkChange.CANCEL, _ALL, after_id=mine[1]) == mine[2:]
    assert await page(BulkChange.RETRY, _ALL) == [failed.id]
    assert await page(BulkChange.CANCEL, TaskFilter(ids=(mine[0], theirs.id))) == [mine[0], theirs.id]
    assert await count_changeable(store.db, BulkChange.CANCEL, _ALL) == 3
    assert await count_changeable(store.db, BulkChange.RETRY, TaskFilter(ids=())) == 0


async def test_many_deliveries_are_sent_again_once(store: Store, other_store: Store) -> None:
    met = await _cancel(store, *[await store.pending() for _ in range(4)])
    sent = [one.deliveries[0] for one in met]
    ended = [one.id for one in sent[:3]]
    await store.run(update(delivery).where(delivery.c.id.in_(ended)).values(status="dead", tries=9))
    wanted = DeliveryFilter(host="receiver.example")

    assert await count_replayable(store.db, wanted) == 3
    assert await replayable_page(store.db, wanted, after_id=ended[0], limit=1) == [ended[1]]
    every = [one.id for one in sent]
    found = await asyncio.gather(*(replay_deliveries(of.db, every) for of in (store, other_store)))

    again = [one for replayed in found for one in replayed]
    assert sorted(one.id for one in again) == ended
    assert {(one.status.value, one.tries, one.body == sent[0].body) for one in again[:1]} == {
        ("pending", 0, True)
    }
    assert await count_replayable(store.db, wanted) == 0
    ((told, tries),) = await list_tries(store.db, met[0].task.id)
    assert (told.id, told.status, tries) == (ended[0], "pending", [])


async def test_a_pause_is_kept_beside_the_mark_of_the_scan(store: Store) -> None:
    assert await paused_queues(store.db) == set()
    await write_paused(store.db, "recognition", paused=True)
    at = await store.db.now()
    await write_scan_mark(store.db, "recognition", at)
    await write_paused(store.db, "delivery", paused=True)
    await write_paused(store.db, "recognition", paused=False)

    assert await paused_queues(store.db) == {"delivery"}
    assert await read_scan_mark(store.db, "recognition") == at


async def test_two_processes_pause_a_queue_at_once(store: Store, other_store: Store) -> None:
    for name in ("a", "b", "c"):
        await asyncio.gather(*(write_paused(of.db, name, paused=True) for of in (store, other_store) * 3))
    assert await paused_queues(store.db) == {"a", "b", "c"}
