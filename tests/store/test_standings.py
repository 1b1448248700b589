"""Where rows stand: what waits, page by page, and what became of an entry's row."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import update

from core.domain.routing import QueueName, member_of_delivery, member_of_task
from core.domain.task import Task
from core.store.changes import cancel_task
from core.store.delivery_log import DeliveryFilter, list_deliveries
from core.store.standings import DELIVERIES, TASKS, Phase, Standing, kind_of, standings, waiting_page
from core.store.tables import delivery
from core.store.types import server_now
from tests.support.store import Store


def ids(page: list[Standing]) -> list[int]:
    return [row.member.id for row in page]


async def test_waiting_rows_come_in_pages_by_id(store: Store) -> None:
    waiting = [await store.pending(2, priority=3) for _ in range(5)]
    await store.set_task(waiting[1], status="cancelled")
    await store.start(waiting[3])

    first = await waiting_page(store.db, TASKS, limit=2)
    second = await waiting_page(store.db, TASKS, after=first[-1], limit=2)

    wanted = [waiting[i] for i in (0, 2, 4)]
    assert [row.member for row in (*first, *second)] == [member_of_task(one) for one in wanted]
    assert {row.phase for row in first} == {Phase.WAITING}
    assert await waiting_page(store.db, TASKS, after=second[-1]) == []


async def test_a_page_of_changed_rows_leaves_out_old_ones_and_those_just_changed(store: Store) -> None:
    old, changed, fresh = [await store.pending() for _ in range(3)]
    at = await store.db.now()
    await store.set_task(old, updated_at=at - timedelta(seconds=200))
    await store.set_task(changed, updated_at=at - timedelta(seconds=60))
    found = await waiting_page(store.db, TASKS, changed_after=at - timedelta(seconds=120))
    assert ids(found) == [changed.id]
    assert fresh.id in ids(await waiting_page(store.db, TASKS))


async def test_changed_rows_come_in_pages_by_the_time_of_their_change(store: Store) -> None:
    at = await store.db.now()
    same = [await store.pending() for _ in range(4)]
    first = await store.pending()
    for one in same:
        await store.set_task(one, updated_at=at - timedelta(seconds=50))
    await store.set_task(first, updated_at=at - timedelta(seconds=60))
    since, met, last = at - timedelta(seconds=120), [], None
    while page := await waiting_page(store.db, TASKS, after=last, changed_after=since, limit=2):
        met += ids(page)
        last = page[-1]
    assert met == [first.id, *(one.id for one in same)]


async def test_rows_by_their_ids_tell_what_may_be_done_with_them(store: Store) -> None:
    waiting, running, over = [await store.pending() for _ in range(3)]
    await store.start(running)
    await store.set_task(over, status="failed", attempt=2)
    await store.set_task(waiting, crashes=1, attempt=1, next_attempt_at=server_now(60.0))

    found = await standings(store.db, TASKS, [waiting.id, running.id, over.id, 42])

    told = {one: (row.phase, row.queue, row.member.attempt) for one, row in found.items()}
    assert told == {
        waiting.id: (Phase.WAITING, QueueName.SOLO, 2),
        running.id: (Phase.RUNNING, QueueName.RECOGNITION, 2),
        over.id: (Phase.OVER, QueueName.RECOGNITION, 3),
    }
    assert found[waiting.id].due_at == found[waiting.id].next_attempt_at
    assert found[over.id].due_at == found[over.id].updated_at


async def _cancelled(store: Store) -> Task:
    waiting = await store.pending()
    await cancel_task(store.db, store.ids, store.promises, waiting.id)
    return waiting


async def test_deliveries_stand_by_their_host(store: Store) -> None:
    for _ in range(3):
        await _cancelled(store)
    sent = (await list_deliveries(store.db, DeliveryFilter(), page_size=9))[::-1]
    page = await waiting_page(store.db, DELIVERIES, limit=2)
    rest = await waiting_page(store.db, DELIVERIES, after=page[-1], limit=2)
    assert [row.member for row in (*page, *rest)] == [member_of_delivery(one) for one in sent]
    for status, phase in (("sending", Phase.RUNNING), ("dead", Phase.OVER), ("delivered", Phase.OVER)):
        await store.run(update(delivery).where(delivery.c.id == sent[0].id).values(status=status))
        found = await standings(store.db, kind_of(QueueName.DELIVERY), [sent[0].id])
        assert (found[sent[0].id].phase, found[sent[0].id].queue) == (phase, QueueName.DELIVERY)
