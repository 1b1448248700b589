"""What was kept long enough goes, whole and in small batches; the rest stays."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from sqlalchemy import update

from core.domain.routing import member_of_delivery
from core.domain.task import Task, TaskStatus
from core.store.attempts import Finished
from core.store.changes import delete_task, retry_task
from core.store.deliveries import start_deliveries, take_back_lost_deliveries
from core.store.delivery_log import DeliveryFilter, list_deliveries
from core.store.pruning import Pruned, known_tasks, prune_tasks, prune_workers
from core.store.tables import delivery, metadata, recognition, task_event, worker
from core.store.types import server_now
from core.store.upkeep import take_back_lost
from tests.support.api import deliver
from tests.support.store import Store, recognised

_DONE = Finished(status=TaskStatus.COMPLETED)


async def _age(store: Store, young: Task, **columns: object) -> Task:
    """Let a task have been made two minutes ago and have ended 90 seconds ago; its id tells the former."""
    old = replace(young, id=young.id - (120_000 << 22))
    await store.set_task(young, id=old.id, completed_at=server_now(-90.0), **columns)
    children = (recognition, task_event, delivery)
    await store.run(*(update(t).where(t.c.task_id == young.id).values(task_id=old.id) for t in children))
    return old


async def _prune(store: Store, status: TaskStatus = TaskStatus.COMPLETED, **more: int) -> Pruned:
    return await prune_tasks(store.db, status, older_than_seconds=60, **more)


async def _delivered(store: Store) -> Task:
    """A task that is completed, called back and logged, whose picture is kept."""
    begun = await store.running()
    key = f"{begun.id}.jpg"
    await store.record(begun, recognised(begun.recognitions[0], media_key=key), end=_DONE)
    for sent in await list_deliveries(store.db, DeliveryFilter(task_id=begun.id), page_size=9):
        await deliver(store, sent.id)
    return begun


async def test_old_ended_tasks_are_pruned_with_all_that_belongs_to_them(store: Store) -> None:
    old, fresh = await _delivered(store), await _delivered(store)
    running = await _age(store, await store.running(callback_url=None))
    await _age(store, old)
    tables = ("task", "recognition", "task_event", "delivery", "delivery_attempt")
    before = [await store.count(name) for name in tables]

    assert await _prune(store) == Pruned(tasks=1, media_keys=(f"{old.id}.jpg",), last_id=None)

    assert await _prune(store) == Pruned(tasks=0, media_keys=(), last_id=None)
    after = [await store.count(name) for name in tables]
    assert all(0 < left < there for left, there in zip(after, before, strict=True))
    assert await known_tasks(store.db, [old.id, fresh.id, running.id]) == {fresh.id, running.id}


async def test_each_status_is_kept_as_long_as_it_is_told(store: Store) -> None:
    ends = [TaskStatus.COMPLETED, TaskStatus.FAILED, TaskStatus.CANCELLED, TaskStatus.EXPIRED]
    for status in ends:
        await _age(store, await store.pending(callback_url=None), status=status)
    for left, status in enumerate(ends, 1):
        assert (await _prune(store, status)).tasks == 1
        assert await store.count("task") == len(ends) - left


async def test_a_task_with_a_callback_to_send_is_kept(store: Store) -> None:
    begun = await store.running(callback_events=("task.completed",))
    await store.record(begun, recognised(begun.recognitions[0]), end=_DONE)
    await _age(store, begun)
    for status, pruned in (("pending", 0), ("sending", 0), ("dead", 1)):
        await store.run(update(delivery).values(status=status))
        assert (await _prune(store)).tasks == pruned


async def test_batches_follow_each_other(store: Store) -> None:
    olds = [await _age(store, await store.pending(callback_url=None), status="completed") for _ in range(5)]
    first = await _prune(store, limit=2)
    assert (first.tasks, first.last_id) == (2, olds[1].id)
    assert (await _prune(store, limit=2, after_id=olds[2].id)).last_id == olds[4].id
    last = await _prune(store, limit=2, after_id=olds[4].id)
    assert (last.tasks, last.last_id) == (0, None)
    assert await known_tasks(store.db, [one.id for one in olds]) == {olds[2].id}


async def test_a_task_that_is_retried_while_it_is_pruned_stays_whole_or_goes(
    store: Store, other_store: Store
) -> None:
    for _ in range(8):
        old = await _age(store, await store.pending(callback_url=None), status="failed")
        pruned, _retried = await asyncio.gather(
            _prune(store, TaskStatus.FAILED),
            retry_task(other_store.db, other_store.ids, old.id),
            return_exceptions=True,
        )
        assert isinstance(pruned, Pruned)
        assert await store.count("task") == await store.count("recognition") == 1 - pruned.tasks
        await store.set_task(old, status="failed", completed_at=server_now(-90.0))
        await _prune(store, TaskStatus.FAILED)


async def test_an_erased_task_leaves_nothing_anywhere(store: Store) -> None:
    gone, other = await _delivered(store), await _delivered(store)
    assert await delete_task(store.db, gone.id) == [f"{gone.id}.jpg"]
    for name, table in metadata.tables.items():
        async with store.db.read() as connection:
            rows = (await connection.execute(table.select())).all()
        assert not [row for row in rows if str(gone.id) in str(row)], name
    assert await store.count("delivery_attempt") == len(await store.events(other))


async def test_rows_of_workers_go_once_nothing_is_in_their_name(store: Store) -> None:
    alive, left, lost = [await store.open_worker() for _ in range(3)]
    await store.start(await store.pending(), worker_id=lost)
    for one in (left, lost):
        await store.lapse_worker(one, closed=True)
    assert await prune_workers(store.db, older_than_seconds=60) == 0
    await store.run(update(worker).where(worker.c.id != alive).values(closed_at=server_now(-90.0)))
    assert await prune_workers(store.db, older_than_seconds=60) == 1
    await take_back_lost(store.db, store.ids, store.promises, max_crashes=3)
    assert await prune_workers(store.db, older_than_seconds=60) == 1
    assert await store.count("worker") == 1


async def test_a_worker_is_kept_while_it_has_a_callback_in_hand(store: Store) -> None:
    holder, claim = await store.open_worker(), "claim-1"
    begun = await store.running(callback_events=("task.completed",))
    written = await store.record(begun, recognised(begun.recognitions[0]), end=_DONE)
    entries = [member_of_delivery(sent) for sent in written.deliveries]
    assert await start_deliveries(
        store.db, worker_id=holder, token=claim, members=entries, timeout_seconds=15
    )
    await store.run(update(worker).values(closed_at=server_now(-90.0)))
    assert await prune_workers(store.db, older_than_seconds=60) == 1
    assert await take_back_lost_deliveries(store.db, max_crashes=9)
    assert await prune_workers(store.db, older_than_seconds=60) == 1
