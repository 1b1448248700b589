"""Deliveries: promised once, tried under a claim, logged, taken back, replayed."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import insert, update
from sqlalchemy.exc import IntegrityError

from core.domain.delivery import Delivery, DeliveryStatus, DeliveryTry
from core.domain.retry import TryOutcome
from core.domain.routing import member_of_delivery
from core.errors import NotFound, TaskNotFinal
from core.store.changes import cancel_task
from core.store.deliveries import (
    put_back_delivery,
    start_deliveries,
    take_back_lost_deliveries,
)
from core.store.delivery_log import (
    DeliveryFilter,
    get_deliveries,
    get_delivery,
    list_deliveries,
    replay_delivery,
)
from core.store.rows import delivery_to_row
from core.store.tables import delivery
from core.store.tries import TryRecord, record_tries
from core.store.types import server_now
from tests.support.store import CAPTURED, Store

_MADE = DeliveryTry(status_code=200, duration_ms=12.5, reply="ok")
_RECEIVED = TryOutcome(status=DeliveryStatus.DELIVERED)
_CLAIM = "claim-1"


async def _promised(store: Store) -> Delivery:
    """The delivery of a task that was cancelled while it waited."""
    waiting = await store.pending()
    await cancel_task(store.db, store.ids, store.promises, waiting.id)
    (found,) = await list_deliveries(store.db, DeliveryFilter(task_id=waiting.id), page_size=5)
    return found


async def _start(store: Store, *sent: Delivery, claim: str = _CLAIM, worker_id: str = "") -> list[Delivery]:
    return await start_deliveries(
        store.db,
        worker_id=worker_id or await store.open_worker(),
        token=claim,
        members=[member_of_delivery(one) for one in sent],
        timeout_seconds=15,
    )


async def _record(
    store: Store, sent: Delivery, outcome: TryOutcome = _RECEIVED, *, claim: str = _CLAIM, log_id: int = 0
) -> Delivery | None:
    log_id = log_id or (await store.ids.take())[0]
    entry = TryRecord(sent=sent, token=claim, made=_MADE, outcome=outcome, log_id=log_id)
    return (await record_tries(store.db, [entry]))[0]


async def _set(store: Store, sent: Delivery, **columns: object) -> None:
    await store.run(update(delivery).where(delivery.c.id == sent.id).values(**columns))


async def _reload(store: Store, sent: Delivery) -> Delivery:
    return (await get_delivery(store.db, sent.id))[0]


async def test_an_event_is_promised_once_in_a_series(store: Store) -> None:
    made = await _promised(store)
    for change in ({"series": 2}, {"recognition_id": 7}, {"event": "task.failed"}):
        again = replace(made, id=(await store.ids.take())[0], **change)
        await store.run(insert(delivery).values(delivery_to_row(again) | {"updated_at": CAPTURED}))
    twice = replace(made, id=(await store.ids.take())[0])
    with pytest.raises(IntegrityError):
        await store.run(insert(delivery).values(delivery_to_row(twice) | {"updated_at": CAPTURED}))


async def test_the_bytes_are_kept_as_they_were_rendered(store: Store) -> None:
    made = await _promised(store)
    everything = bytes(range(256)) * 300
    await _set(store, made, body=everything)
    assert (await _reload(store, made)).body == everything


async def test_a_delivery_is_started_by_one_claim(store: Store, other_store: Store) -> None:
    made = [await _promised(store) for _ in range(3)]
    found = await asyncio.gather(
        *(_start(of, *made, claim=f"claim-{i}") for i, of in enumerate((store, other_store) * 4))
    )
    assert sorted(one.id for part in found for one in part) == [one.id for one in made]
    assert {(one.status, one.attempt) for part in found for one in part} == {("sending", 1)}


async def test_a_start_whose_answer_was_lost_is_won_again(store: Store) -> None:
    made, worker_id = await _promised(store), await store.open_worker()
    assert await _start(store, made, worker_id=worker_id) == await _start(store, made, worker_id=worker_id)


async def test_neither_a_stale_attempt_nor_a_closed_worker_starts_a_delivery(store: Store) -> None:
    made, worker_id = await _promised(store), await store.open_worker()
    assert await _start(store, replace(made, attempt=1)) == []
    await store.lapse_worker(worker_id, closed=True)
    assert await _start(store, made, worker_id=worker_id) == []
    assert (await _reload(store, made)).status is DeliveryStatus.PENDING


async def test_a_received_delivery_is_ended_and_logged(store: Store) -> None:
    (sending,) = await _start(store, await _promised(store))
    after = await _record(store, sending)
    stored, log = await get_delivery(store.db, sending.id, system_code="farm")
    assert after == stored
    assert (stored.status, stored.tries, stored.attempt) == (DeliveryStatus.DELIVERED, 1, 1)
    assert stored.delivered_at is not None
    (line,) = log
    assert (line.attempt, line.at, line.duration_ms) == (1, stored.delivered_at, 12.5)
    assert (line.status_code, line.error_code, line.reply) == (200, None, "ok")


async def test_a_failed_try_waits_for_the_next(store: Store) -> None:
    (sending,) = await _start(store, await _promised(store))
    later = TryOutcome(status=DeliveryStatus.PENDING, delay_seconds=5.25, error_code="callback_timeout")
    after = await _record(store, sending, later)
    stored, log = await get_delivery(store.db, sending.id)
    assert after == stored
    assert (stored.status, stored.tries, stored.error_code) == ("pending", 1, "callback_timeout")
    assert stored.next_attempt_at is not None
    assert stored.next_attempt_at - log[0].at == timedelta(seconds=5.25)
    (again,) = await _start(store, stored)
    assert (again.attempt, again.next_attempt_at) == (2, None)


async def test_a_stale_claim_records_nothing(store: Store) -> None:
    made = await _promised(store)
    (sending,) = await _start(store, made)
    assert await _record(store, sending, claim="claim-2") is None
    assert await _record(store, replace(sending, attempt=2)) is None
    assert not await put_back_delivery(store.db, sending, "claim-2")
    stored, log = await get_delivery(store.db, made.id)
    assert (stored, log) == (sending, [])


async def test_a_try_whose_answer_was_lost_is_logged_once(store: Store) -> None:
    (sending,) = await _start(store, await _promised(store))
    first = await _record(store, sending, log_id=77)
    again = await _record(store, sending, log_id=77)
    assert first is not None
    assert again is not None
    assert again.status is first.status
    assert len((await get_delivery(store.db, sending.id))[1]) == 1


async def test_a_drained_delivery_goes_back_at_no_cost(store: Store) -> None:
    (sending,) = await _start(store, await _promised(store))
    assert await put_back_delivery(store.db, sending, _CLAIM)
    stored = await _reload(store, sending)
    assert (stored.status, stored.attempt, stored.tries, stored.crashes) == ("pending", 1, 0, 0)


@pytest.mark.parametrize("is_declared", [True, False], ids=["worker closed", "deadline long past"])
async def test_a_lost_delivery_goes_back_without_a_try(store: Store, is_declared: bool) -> None:
    worker_id = await store.open_worker()
    (sending,) = await _start(store, await _promised(store), worker_id=worker_id)
    assert await take_back_lost_deliveries(store.db, max_crashes=10) == []
    if is_declared:
        await store.lapse_worker(worker_id, closed=True)
    else:
        await _set(store, sending, deadline_at=server_now(-31.0))

    (taken,) = await take_back_lost_deliveries(store.db, max_crashes=10)

    assert taken == await _reload(store, sending)
    assert (taken.status, taken.tries, taken.crashes) == ("pending", 0, 1)
    assert await _record(store, sending) is None
    assert await take_back_lost_deliveries(store.db, max_crashes=10) == []


async def test_a_delivery_that_lost_too_many_workers_is_dead(store: Store) -> None:
    (sending,) = await _start(store, await _promised(store))
    await _set(store, sending, deadline_at=server_now(-31.0), crashes=9)
    (taken,) = await take_back_lost_deliveries(store.db, max_crashes=10)
    assert (taken.status, taken.crashes) == (DeliveryStatus.DEAD, 10)


@pytest.mark.parametrize("status", [DeliveryStatus.DEAD, DeliveryStatus.REFUSED, DeliveryStatus.DELIVERED])
async def test_an_ended_delivery_is_replayed_with_its_id_and_bytes(
    store: Store, status: DeliveryStatus
) -> None:
    (sending,) = await _start(store, await _promised(store))
    ended = await _record(store, sending, TryOutcome(status=status, error_code="callback_gone"))
    assert ended is not None

    again = await replay_delivery(store.db, sending.id, system_code="farm")

    assert again == await _reload(store, sending)
    assert (again.id, again.body, again.attempt) == (sending.id, sending.body, 1)
    assert (again.status, again.tries, again.crashes, again.delivered_at) == ("pending", 0, 0, None)
    assert [one.attempt for one in await _start(store, again)] == [2]


async def test_what_is_still_tried_is_not_replayed(store: Store) -> None:
    made = await _promised(store)
    with pytest.raises(TaskNotFinal):
        await replay_delivery(store.db, made.id)
    await _start(store, made)
    with pytest.raises(TaskNotFinal):
        await replay_delivery(store.db, made.id)
    with pytest.raises(NotFound):
        await replay_delivery(store.db, made.id, system_code="zoo")
    with pytest.raises(NotFound):
        await get_delivery(store.db, made.id + 1)


async def test_deliveries_are_listed_newest_first(store: Store) -> None:
    made = [await _promised(store) for _ in range(5)]
    await _start(store, made[2])
    newest = await list_deliveries(store.db, DeliveryFilter(system_code="farm"), page_size=2)
    assert newest == [made[4], made[3]]
    wanted = DeliveryFilter(statuses=(DeliveryStatus.PENDING,), host="receiver.example")
    older = await list_deliveries(store.db, wanted, page_size=9, before_id=made[3].id)
    assert older == [made[1], made[0]]
    assert await get_deliveries(store.db, [made[4].id, 5, made[0].id]) == [made[0], made[4]]
