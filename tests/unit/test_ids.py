"""Ids count up, say when they were made and stay below what was promised."""

from __future__ import annotations

import asyncio
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import DatabaseUnavailable
from core.ids import EPOCH_MS, Ids, Reservation, created_ms

_START_MS = EPOCH_MS + 90_000_000_000
_BITS = 63


class _Promises:
    """Reservations in memory: what a database promises, without one."""

    def __init__(self, *, refuses: tuple[int, ...] = ()) -> None:
        self.promised: dict[int, int] = {}
        self.calls = 0
        self._refuses = refuses

    async def acquire(self, span_ms: int) -> Reservation:
        number = len(self.promised)
        self.promised[number] = _START_MS + span_ms
        return Reservation(instance=number, holder="me", from_ms=_START_MS, until_ms=_START_MS + span_ms)

    async def extend(self, reservation: Reservation, until_ms: int) -> Reservation | None:
        self.calls += 1
        if self.calls in self._refuses:
            return None
        assert until_ms > self.promised[reservation.instance]
        self.promised[reservation.instance] = until_ms
        return Reservation(
            instance=reservation.instance, holder="me", from_ms=reservation.from_ms, until_ms=until_ms
        )


@given(
    steps=st.lists(st.tuples(st.integers(-100_000, 100_000), st.integers(1, 9000)), max_size=30),
    refuses=st.sets(st.integers(1, 10)),
)
def test_ids_count_up_below_the_promise_however_the_clock_runs(
    steps: list[tuple[int, int]], refuses: set[int]
) -> None:
    promises = _Promises(refuses=tuple(refuses))
    hands = [_START_MS]
    ids = Ids(promises, clock_ms=lambda: hands[0])

    async def run() -> None:
        last = 0
        for step_ms, count in steps:
            hands[0] += step_ms
            taken = await ids.take(count)
            assert len(taken) == count
            assert last < taken[0]
            assert all(before < after for before, after in itertools.pairwise(taken))
            last = taken[-1]
            assert created_ms(last) < max(promises.promised.values())
            assert 0 < last < 2**_BITS

    asyncio.run(run())


async def test_an_id_made_while_the_clock_runs_tells_the_time() -> None:
    hands = [_START_MS]
    ids = Ids(_Promises(), clock_ms=lambda: hands[0])
    for step_ms in (0, 1, 2500, 60_000):
        hands[0] += step_ms
        assert created_ms((await ids.take())[0]) == hands[0]


async def test_time_is_promised_far_ahead_so_that_few_calls_ask_for_it() -> None:
    promises = _Promises()
    hands = [_START_MS]
    ids = Ids(promises, clock_ms=lambda: hands[0])
    for _ in range(30_000):
        hands[0] += 1
        await ids.take()
    assert promises.calls <= 3


async def test_ids_are_made_again_once_the_store_is_back() -> None:
    class Away(_Promises):
        is_away = True

        async def acquire(self, span_ms: int) -> Reservation:
            if self.is_away:
                raise DatabaseUnavailable
            return await super().acquire(span_ms)

    promises = Away()
    ids = Ids(promises)
    with pytest.raises(DatabaseUnavailable):
        await ids.take()
    promises.is_away = False
    assert len(await ids.take(3)) == 3
