"""Group commit: few flushes, each caller its own answer, one bad item alone in its failure."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import DatabaseUnavailable, IntakeFull
from core.store.group_commit import Company, GroupCommit, flush_by_halves


class _Log:
    """Remembers the groups it was given; odd hundreds are bad, and 13 has an answer of its own."""

    def __init__(self) -> None:
        self.groups: list[list[int]] = []
        self.began, self.may_go = asyncio.Event(), asyncio.Event()
        self.is_down = False

    async def flush(self, items: Sequence[int]) -> list[str | Exception]:
        self.groups.append(list(items))
        self.began.set()
        await self.may_go.wait()
        if self.is_down:
            raise DatabaseUnavailable
        if any(item >= 100 for item in items):
            raise ValueError(next(item for item in items if item >= 100))
        return [KeyError(item) if item == 13 else f"did {item}" for item in items]


def _group(log: _Log, *, max_group: int = 10, max_pending: int = 100) -> GroupCommit[int, str]:
    return GroupCommit(log.flush, max_group=max_group, max_pending=max_pending)


async def _submit(group: GroupCommit[int, str], items: Sequence[int]) -> list[str | BaseException]:
    return await asyncio.gather(*(group.submit(item) for item in items), return_exceptions=True)


async def test_what_arrives_while_a_flush_is_under_way_shares_the_next_one() -> None:
    log = _Log()
    async with _group(log) as group:
        first = asyncio.ensure_future(group.submit(0))
        await log.began.wait()
        rest = [asyncio.ensure_future(group.submit(item)) for item in range(1, 8)]
        await asyncio.sleep(0)
        assert group.depth == 7
        log.may_go.set()
        assert await first == "did 0"
        assert await asyncio.gather(*rest) == [f"did {item}" for item in range(1, 8)]
    assert log.groups == [[0], [1, 2, 3, 4, 5, 6, 7]]


async def test_a_group_has_a_bound_and_keeps_the_order_of_arrival() -> None:
    log = _Log()
    log.may_go.set()
    async with _group(log, max_group=3) as group:
        await _submit(group, range(8))
    assert log.groups == [[0, 1, 2], [3, 4, 5], [6, 7]]


async def test_an_answer_may_be_an_error_for_one_item() -> None:
    log = _Log()
    log.may_go.set()
    async with _group(log) as group:
        found = await _submit(group, [12, 13, 14])
    assert [type(one) for one in found] == [str, KeyError, str]
    assert len(log.groups) == 1


async def test_one_bad_item_fails_alone_and_is_found_by_halves() -> None:
    log = _Log()
    log.may_go.set()
    items = [*range(20, 50), 101, *range(50, 83)]
    async with _group(log, max_group=64) as group:
        found = await _submit(group, items)
    assert [item for item, one in zip(items, found, strict=True) if isinstance(one, ValueError)] == [101]
    assert len(log.groups) == 1 + 2 * 6


@given(bad=st.sets(st.integers(0, 20)), count=st.integers(1, 21))
def test_every_item_gets_its_own_answer_whatever_is_bad(bad: set[int], count: int) -> None:
    async def flush(items: Sequence[int]) -> list[int]:
        if bad & set(items):
            raise ValueError
        return [item * 10 for item in items]

    found = asyncio.run(flush_by_halves(flush, range(count)))
    for item, one in enumerate(found):
        assert isinstance(one, ValueError) if item in bad else one == item * 10


async def test_an_outage_fails_a_group_at_once_and_the_next_one_succeeds() -> None:
    log = _Log()
    log.may_go.set()
    async with _group(log) as group:
        log.is_down = True
        found = await _submit(group, range(5))
        assert {type(one) for one in found} == {DatabaseUnavailable}
        assert len(log.groups) == 1
        log.is_down = False
        assert await group.submit(1) == "did 1"


async def test_beyond_its_bound_a_group_refuses() -> None:
    log = _Log()
    async with _group(log, max_pending=3) as group:
        waiting = [asyncio.ensure_future(group.submit(item)) for item in range(3)]
        await asyncio.sleep(0)
        with pytest.raises(IntakeFull):
            await group.submit(3)
        log.may_go.set()
        assert await asyncio.gather(*waiting) == ["did 0", "did 1", "did 2"]
        assert await group.submit(4) == "did 4"


async def test_one_that_left_before_its_flush_is_left_out() -> None:
    log = _Log()
    async with _group(log) as group:
        first = asyncio.ensure_future(group.submit(0))
        await log.began.wait()
        gone, stays = asyncio.ensure_future(group.submit(1)), asyncio.ensure_future(group.submit(2))
        await asyncio.sleep(0)
        gone.cancel()
        log.may_go.set()
        assert await first == "did 0"
        assert await stays == "did 2"
    assert log.groups == [[0], [2]]


async def test_one_that_leaves_during_its_flush_disturbs_nobody() -> None:
    log = _Log()
    async with _group(log) as group:
        leaving, staying = (asyncio.ensure_future(group.submit(item)) for item in (1, 2))
        await log.began.wait()
        leaving.cancel()
        log.may_go.set()
        assert await staying == "did 2"
        assert leaving.cancelled()


async def test_closing_finishes_what_was_accepted_and_takes_no_more() -> None:
    log = _Log()
    group = _group(log)
    async with group:
        waiting = asyncio.ensure_future(_submit(group, range(20, 45)))
        await log.began.wait()
        log.may_go.set()
    assert await waiting == [f"did {item}" for item in range(20, 45)]
    with pytest.raises(IntakeFull):
        await group.submit(1)


async def test_a_group_waits_for_company_until_enough_have_come() -> None:
    log = _Log()
    log.may_go.set()
    company = Company(wanted=lambda: 3, limit_seconds=60)
    async with GroupCommit(log.flush, max_group=10, max_pending=100, company=company) as group:
        first = [asyncio.ensure_future(group.submit(item)) for item in (1, 2)]
        for _ in range(5):
            await asyncio.sleep(0)
        assert log.groups == []
        assert await group.submit(3) == "did 3"
        assert await asyncio.gather(*first) == ["did 1", "did 2"]
    assert log.groups == [[1, 2, 3]]


async def test_company_is_waited_for_no_longer_than_the_limit() -> None:
    log = _Log()
    log.may_go.set()
    company = Company(wanted=lambda: 3, limit_seconds=0.01)
    async with GroupCommit(log.flush, max_group=10, max_pending=100, company=company) as group:
        assert await group.submit(1) == "did 1"
    assert log.groups == [[1]]


async def test_nobody_waits_for_company_in_a_group_that_closes() -> None:
    log = _Log()
    log.may_go.set()
    company = Company(wanted=lambda: 3, limit_seconds=60)
    async with GroupCommit(log.flush, max_group=10, max_pending=100, company=company) as group:
        last = asyncio.ensure_future(group.submit(1))
        await asyncio.sleep(0)
    assert await last == "did 1"
