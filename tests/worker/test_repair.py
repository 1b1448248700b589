"""The plan against the rows, both ways and on every database: what is wrong is put right, once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from core.domain.delivery import Delivery
from core.domain.routing import Member, QueueName, member_of_delivery, member_of_task
from core.domain.task import Task
from core.errors import StalePlan
from core.queue.lease import Entry, Place
from core.repair import Repair, Repairs
from core.store.tables import delivery
from core.store.types import server_now
from tests.support.store import Store
from tests.support.valkey import PrivateValkey
from tests.support.worker_bench import PATIENCE_SECONDS, SYSTEM, WorkerBench, open_bench

HOUR_MS = 3_600_000
RECOGNITION, SOLO, DELIVERY = QueueName.RECOGNITION, QueueName.SOLO, QueueName.DELIVERY


_EACH = [
    "sqlite",
    pytest.param("mariadb", marks=pytest.mark.mariadb),
    pytest.param("postgresql", marks=pytest.mark.postgresql),
]


@pytest.fixture(params=_EACH)
def database_url(request: pytest.FixtureRequest) -> str:
    """Give the url of an empty database, on each of the three in turn."""
    return str(request.getfixturevalue(f"{request.param}_url"))


@pytest.fixture
async def bench(database_url: str, valkey: PrivateValkey, tmp_path: Path) -> AsyncIterator[WorkerBench]:
    """Give an installation without a worker."""
    async with open_bench(database_url, valkey, tmp_path) as opened:
        yield opened


def store(bench: WorkerBench) -> Store:
    return Store(db=bench.base.db, ids=bench.base.ids, promises=bench.base.promises)


async def submitted(bench: WorkerBench, count: int = 1) -> list[Task]:
    return [await bench.submit(bench.pictures.url("/picture.jpg")) for _ in range(count)]


async def swept(bench: WorkerBench) -> dict[tuple[QueueName, Repair], int]:
    """Compare everything, and again to see that nothing is left to do."""
    found = await bench.base.plan.sweep()
    assert (await bench.base.plan.sweep()).counts == {}
    return dict(found.counts)


async def entries(bench: WorkerBench, name: QueueName) -> dict[Place, set[Member]]:
    queue = bench.base.plan.queues.of(name)
    met = {place: {one async for page in queue.members(place) for one in page} for place in Place}
    return {place: members for place, members in met.items() if members}


async def due_in_ms(bench: WorkerBench, name: QueueName, key: str) -> list[float]:
    """How long it is until the entries of a timed place are due, or their leases end."""
    queue = bench.base.plan.queues.of(name)
    found: Any = await queue.connections.retrying.zrange(key, 0, -1, withscores=True)
    now_ms = await queue.now_ms()
    return [float(score) - now_ms for _, score in found]


async def test_entries_whose_rows_want_them_are_left_alone(bench: WorkerBench) -> None:
    waiting, running, late = await submitted(bench, 3)
    queue = bench.base.plan.queues.recognition
    await store(bench).set_task(late, attempt=1, next_attempt_at=server_now(60.0))
    await queue.cancel([member_of_task(late)])
    await bench.base.plan.enqueue_tasks([await bench.reload(late)])
    await queue.cancel([member_of_task(waiting)])
    await queue.claim("mine", 5000, 1)
    await store(bench).start(running)
    await bench.base.plan.enqueue_tasks([waiting])
    before = await entries(bench, RECOGNITION)
    assert {place: len(found) for place, found in before.items()} == {
        Place.READY: 1,
        Place.DELAYED: 1,
        Place.LEASED: 1,
    }
    assert await swept(bench) == {}
    assert await entries(bench, RECOGNITION) == before


async def test_ghosts_go_from_wherever_they_wait(bench: WorkerBench) -> None:
    queue, stored = bench.base.plan.queues.recognition, store(bench)
    kept, ended, running, past, crashed = await submitted(bench, 5)
    await stored.set_task(ended, status="completed")
    await stored.start(running)
    await stored.set_task(past, attempt=1)
    await stored.set_task(crashed, crashes=1)
    unknown = replace(member_of_task(kept), id=42)
    ahead = replace(member_of_task(kept), attempt=7)
    await queue.enqueue([Entry(member=unknown, delay_ms=HOUR_MS), Entry(member=ahead)])
    await queue.enqueue([Entry(member=replace(unknown, flow="other"))])

    found = await swept(bench)

    # What is missing afterwards: the next attempt of one, and the other's place in the solo queue.
    assert found == {
        (RECOGNITION, Repair.GHOST): 7,
        (RECOGNITION, Repair.MISSING): 1,
        (SOLO, Repair.MISSING): 1,
    }
    wanted = {member_of_task(kept), replace(member_of_task(past), attempt=2)}
    assert await entries(bench, RECOGNITION) == {Place.READY: wanted}
    assert await entries(bench, SOLO) == {Place.READY: {member_of_task(crashed)}}
    assert (await bench.stats(RECOGNITION)).flows.keys() == {SYSTEM}


async def test_an_entry_that_is_due_later_than_its_row_says_is_hastened(bench: WorkerBench) -> None:
    queue, stored = bench.base.plan.queues.recognition, store(bench)
    soon, now, right = [await bench.store(bench.pictures.url("/picture.jpg")) for _ in range(3)]
    await stored.set_task(soon, next_attempt_at=server_now(60.0))
    await stored.set_task(right, next_attempt_at=server_now(3600.0))
    late = [Entry(member=member_of_task(one), delay_ms=HOUR_MS) for one in (soon, now, right)]
    await queue.enqueue(late)

    assert await swept(bench) == {(RECOGNITION, Repair.LATE): 2}

    due_ms = sorted(await due_in_ms(bench, RECOGNITION, queue.keys.delayed))
    assert due_ms[0] <= 0 < due_ms[1] <= 60_000 < HOUR_MS - 60_000 < due_ms[2]


async def test_a_lease_that_no_worker_can_hold_so_long_is_cut(bench: WorkerBench) -> None:
    (task,) = await submitted(bench)
    queue = bench.base.plan.queues.recognition
    await queue.claim("gone", HOUR_MS, 1)
    assert await swept(bench) == {(RECOGNITION, Repair.STUCK): 1}
    (left_ms,) = await due_in_ms(bench, RECOGNITION, queue.keys.leased)
    assert left_ms <= bench.settings.queue.lease_seconds * 1000
    assert (await bench.reload(task)).attempt == 0


async def test_a_lease_on_what_has_ended_is_left_to_the_reaper_soon(
    bench: WorkerBench,
) -> None:
    (task,) = await submitted(bench)
    queue = bench.base.plan.queues.recognition
    await queue.claim("gone", HOUR_MS, 1)
    await store(bench).set_task(task, status="failed", attempt=1)
    found = await bench.base.plan.sweep()
    assert dict(found.counts) == {(RECOGNITION, Repair.GHOST): 1, (RECOGNITION, Repair.MESSAGE): 1}
    (left_ms,) = await due_in_ms(bench, RECOGNITION, queue.keys.leased)
    assert left_ms <= 2000


async def deliveries(bench: WorkerBench, count: int) -> list[Delivery]:
    """Callbacks of tasks that were cancelled while they waited."""
    made: list[Delivery] = []
    for task in await submitted(bench, count):
        await bench.cancel(task)
        await bench.base.plan.withdraw([task])
        made += await bench.deliveries(task)
    return made


async def test_deliveries_are_compared_likewise(bench: WorkerBench) -> None:
    queue, stored = bench.base.plan.queues.delivery, store(bench)
    missing, ended, late, past = await deliveries(bench, 4)
    columns = delivery.c
    await stored.run(
        update(delivery).where(columns.id == ended.id).values(status="delivered"),
        update(delivery).where(columns.id == past.id).values(attempt=1),
    )
    await queue.enqueue([Entry(member=member_of_delivery(one)) for one in (ended, past)])
    await queue.enqueue([Entry(member=member_of_delivery(late), delay_ms=HOUR_MS)])
    unknown = replace(member_of_delivery(ended), id=42)
    await queue.enqueue([Entry(member=unknown, delay_ms=HOUR_MS)])

    assert await swept(bench) == {
        (DELIVERY, Repair.GHOST): 3,
        (DELIVERY, Repair.LATE): 1,
        (DELIVERY, Repair.MISSING): 2,
    }
    assert await entries(bench, DELIVERY) == {
        Place.READY: {member_of_delivery(missing), replace(member_of_delivery(past), attempt=2)},
        Place.DELAYED: {member_of_delivery(late)},
    }


async def test_what_fell_due_during_an_outage_comes_back_spread(bench: WorkerBench) -> None:
    queue, stored = bench.base.plan.queues.recognition, store(bench)
    tasks = [await bench.store(bench.pictures.url("/picture.jpg")) for _ in range(20)]
    for task in tasks:
        await stored.set_task(task, attempt=1, next_attempt_at=server_now(-30.0))
    assert (await bench.base.plan.sweep()).tasks == 20
    due_ms = await due_in_ms(bench, RECOGNITION, queue.keys.delayed)
    assert len(due_ms) >= 15  # a few may be due at once
    assert max(due_ms) <= 3000
    assert max(due_ms) - min(due_ms) > 500


async def test_a_queue_of_many_pages_is_rebuilt_while_claiming_goes_on(
    bench: WorkerBench, valkey: PrivateValkey
) -> None:
    queue, url = bench.base.plan.queues.recognition, bench.pictures.url("/picture.jpg")
    tasks = await asyncio.gather(*(bench.store(url) for _ in range(1100)))
    valkey.flush()
    claimed: list[int] = []

    async def claim_all() -> None:
        while len(claimed) < len(tasks):
            claim = await queue.claim("mine", HOUR_MS, 40)
            claimed.extend(lease.member.id for lease in claim.leases)

    async with asyncio.timeout(PATIENCE_SECONDS), asyncio.TaskGroup() as group:
        group.create_task(claim_all())
        rebuild = group.create_task(bench.base.plan.rebuild())
    assert sorted(claimed) == sorted(task.id for task in tasks)
    assert dict(rebuild.result().counts) == {(RECOGNITION, Repair.REBUILT): 1100}
    assert (await queue.beat()).loss(None) is None


async def test_two_rebuilds_and_sweeps_at_once_queue_nothing_twice(
    bench: WorkerBench, valkey: PrivateValkey
) -> None:
    tasks = await submitted(bench, 30)
    valkey.flush()
    found = await asyncio.gather(
        bench.base.plan.rebuild(), bench.base.plan.rebuild(), bench.base.plan.sweep(), return_exceptions=True
    )
    assert sum(isinstance(one, StalePlan) for one in found) == 1
    repairs = [one for one in found if isinstance(one, Repairs)]
    assert sum(one.tasks for one in repairs) == len(tasks)
    assert (await bench.stats(RECOGNITION)).ready == len(tasks)
