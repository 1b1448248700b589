"""Instance numbers are leased so that no id is ever made twice."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator

import pytest
from sqlalchemy import insert, select, update

from core.ids import MAX_INSTANCE, Ids, Reservation, created_ms
from core.store.instances import InstanceLeases
from core.store.tables import instance_lease
from tests.support.id_takers import IdTakers, id_takers
from tests.support.store import Store


async def _now_ms(store: Store) -> int:
    return int((await store.db.now()).timestamp() * 1000)


def _clock(at_ms: int) -> tuple[Callable[[], int], list[int]]:
    hands = [at_ms]
    return lambda: hands[0], hands


async def _let_numbers_lapse(store: Store) -> None:
    await store.run(update(instance_lease).values(reserved_until_ms=await _now_ms(store) - 61_000))


async def _held(store: Store) -> dict[int, int]:
    async with store.db.read() as connection:
        rows = await connection.execute(select(instance_lease.c.instance, instance_lease.c.reserved_until_ms))
        return {row.instance: row.reserved_until_ms for row in rows}


@pytest.fixture(scope="module")
def takers() -> Iterator[IdTakers]:
    """Give sixteen processes that take ids."""
    with id_takers(16) as started:
        yield started


@pytest.mark.usefixtures("store")
async def test_sixteen_processes_make_no_id_twice(store_url: str, takers: IdTakers) -> None:
    found = await takers.take(store_url, [1] * 500 + [100] * 15)
    assert [len(part) for part in found] == [2000] * 16
    assert len({one for part in found for one in part}) == 32_000
    for part in found:
        assert part == sorted(part)


async def test_concurrent_calls_in_one_process_share_no_id(store: Store) -> None:
    found = await asyncio.gather(*(store.ids.take(7) for _ in range(200)))
    taken = [one for part in found for one in part]
    assert len(set(taken)) == 1400
    assert taken == sorted(taken)
    assert len(await _held(store)) == 1


async def test_an_id_tells_when_it_was_made(store: Store) -> None:
    (taken,) = await store.ids.take()
    assert abs(created_ms(taken) - await _now_ms(store)) < 5000


async def test_a_clock_that_steps_back_repeats_nothing(store: Store) -> None:
    clock, hands = _clock(await _now_ms(store))
    ids = Ids(InstanceLeases(store.db), clock_ms=clock)
    taken: list[int] = []
    for step_ms in (0, 5, -60_000, 1, -3_600_000, 30_000_000, -30_000_000, 0):
        hands[0] += step_ms
        taken += await ids.take(50)
    assert taken == sorted(set(taken))


async def test_ids_stay_in_order_when_the_number_is_lost_and_the_clock_is_behind(store: Store) -> None:
    clock, hands = _clock(await _now_ms(store) + 3_600_000)
    ids = Ids(InstanceLeases(store.db), clock_ms=clock)
    taken = await ids.take(10)
    # Another process takes the number, and the clock is set right: an hour back.
    await store.run(update(instance_lease).values(holder="another"))
    hands[0] -= 3_600_000
    taken += await ids.take(100_000)
    taken += await ids.take(10)
    assert taken == sorted(set(taken))
    assert created_ms(taken[-1]) <= max((await _held(store)).values())


class _HeldSince:
    """Leases of a process that holds a number since a while ago."""

    def __init__(self, held: Reservation, leases: InstanceLeases) -> None:
        self._held: Reservation | None = held
        self._leases = leases
        self.extend = leases.extend

    async def acquire(self, span_ms: int) -> Reservation:
        held, self._held = self._held, None
        return held or await self._leases.acquire(span_ms)


async def test_a_frozen_process_that_wakes_repeats_no_id_of_its_numbers_next_holder(store: Store) -> None:
    now_ms = await _now_ms(store)
    held = Reservation(instance=7, holder="frozen", from_ms=now_ms - 90_000, until_ms=now_ms - 61_000)
    # All other numbers are in use, so that the next process must take this one.
    rows = [
        {"instance": n, "holder": "x", "reserved_until_ms": now_ms + 9**9} for n in range(MAX_INSTANCE + 1)
    ]
    rows[7] |= {"holder": held.holder, "reserved_until_ms": held.until_ms}
    await store.run(insert(instance_lease).values(rows))
    leases = InstanceLeases(store.db)
    clock, hands = _clock(now_ms - 80_000)
    frozen, other = Ids(_HeldSince(held, leases), clock_ms=clock), Ids(leases)

    taken = [*await frozen.take(1000), *await other.take(1000), *await frozen.take(1000)]
    assert {one >> 12 & MAX_INSTANCE for one in taken} == {7}

    hands[0] = now_ms
    await store.run(update(instance_lease).where(instance_lease.c.instance == 3).values(reserved_until_ms=0))
    late = await frozen.take(1000)
    assert {one >> 12 & MAX_INSTANCE for one in late} == {3}
    taken += [*late, *await other.take(1000)]
    assert len(set(taken)) == 5000
    assert late[0] > taken[2999]


async def test_a_number_is_free_a_minute_after_its_promise_ended(store: Store) -> None:
    await store.ids.take()
    (number,) = await _held(store)
    numbers = {number, (await InstanceLeases(store.db).acquire(1)).instance}
    assert len(numbers) == 2
    await _let_numbers_lapse(store)
    assert (await InstanceLeases(store.db).acquire(1)).instance in numbers


async def test_many_processes_never_hold_one_number_together(store: Store, other_store: Store) -> None:
    for _ in range(3):
        await _let_numbers_lapse(store)
        leases = [InstanceLeases(of.db) for of in (store, other_store)]
        found = await asyncio.gather(*(leases[i % 2].acquire(10_000) for i in range(20)))
        assert len({one.instance for one in found}) == 20
