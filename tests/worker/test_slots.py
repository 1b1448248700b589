"""Slots: what is taken, what is free, who waits."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest

from core.errors import DatabaseUnavailable, QueueUnavailable, Unavailable
from worker.slots import Slots


async def _turns(count: int = 5) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def test_all_free_slots_are_taken_before_the_queue_is_asked() -> None:
    slots = Slots(3)
    assert await slots.take_free() == 3
    assert (slots.taken, slots.free) == (3, 0)
    slots.give_back(2)
    assert (slots.taken, slots.free) == (1, 2)


async def test_who_finds_no_slot_waits_until_one_is_given_back() -> None:
    slots = Slots(1)
    slots.take_at_once()
    waiting = asyncio.create_task(slots.take_free())
    await _turns()
    assert not waiting.done()
    slots.give_back()
    assert await waiting == 1


async def test_a_closed_gate_lets_nothing_in_until_it_is_opened() -> None:
    slots = Slots(2)
    slots.set_gate(is_open=False)
    waiting = asyncio.create_task(slots.take_free())
    await _turns()
    assert (waiting.done(), slots.take_at_once()) == (False, 0)
    slots.set_gate(is_open=True)
    assert await waiting == 2


async def test_slots_that_are_closed_stay_closed_whoever_opens_the_gate() -> None:
    slots = Slots(2)
    waiting = asyncio.create_task(slots.take_free())
    assert await waiting == 2
    late = asyncio.create_task(slots.take_free())
    slots.close()
    slots.give_back(2)
    slots.set_gate(is_open=True)
    await _turns()
    assert (late.done(), slots.free, slots.is_over) == (False, 0, True)
    late.cancel()


async def test_idle_means_that_no_claim_is_under_way_either() -> None:
    slots = Slots(4)
    claimed = await slots.take_free()
    idle = asyncio.create_task(slots.wait_idle())
    await _turns()
    assert not idle.done()
    slots.give_back(claimed - 1)
    await _turns()
    assert not idle.done()
    slots.give_back()
    await idle


async def test_whoever_closed_the_gate_may_take_one_himself() -> None:
    slots = Slots(1)
    slots.set_gate(is_open=False)
    slots.take_one()
    assert (slots.taken, slots.free) == (1, 0)
    slots.give_back()
    assert slots.taken == 0


async def test_after_a_failure_it_begins_with_one_and_doubles() -> None:
    slots, taken = Slots(8), []

    async def take(error: Exception | None = None) -> None:
        with suppress(Unavailable, ZeroDivisionError), slots.paced():
            taken.append(await slots.take_free())
            slots.give_back(taken[-1])
            if error is not None:
                raise error

    await take(QueueUnavailable())
    for _ in range(5):
        await take()
    assert taken == [8, 1, 2, 4, 8, 8]
    await take(ZeroDivisionError())  # nothing was away
    await take(DatabaseUnavailable())
    await take(DatabaseUnavailable())
    assert taken[-3:] == [8, 8, 1]


@pytest.mark.parametrize(("held", "spare"), [(0, 1), (2, 1), (3, 1), (4, 2), (5, 3), (8, 3)])
def test_ends_wait_only_while_every_child_has_work_beside_them(held: int, spare: int) -> None:
    slots = Slots(8, at_work=2)
    for _ in range(held):
        slots.take_one()
    assert (slots.batch, slots.spare) == (3, spare)
    slots.close()
    assert slots.spare == 1


def test_without_slots_to_spare_nothing_is_batched() -> None:
    slots = Slots(4, at_work=4)
    assert slots.take_at_once() == 4
    assert (slots.batch, slots.spare) == (1, 1)


async def test_a_batch_is_waited_for_as_long_as_it_takes_or_the_limit() -> None:
    slots = Slots(8, at_work=2)
    assert slots.take_at_once() == 8
    waiting = asyncio.ensure_future(slots.wait_for_batch(60))
    slots.give_back(2)
    await _turns()
    assert not waiting.done()
    slots.give_back()
    await asyncio.wait_for(waiting, 5)
    assert slots.take_at_once() == 3
    await slots.wait_for_batch(0.01)
    assert slots.free == 0
