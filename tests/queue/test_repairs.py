"""What the reconciler asks of a queue: walks, hastening, and what a heartbeat says."""

from __future__ import annotations

from typing import Any

from core.domain.routing import Member
from core.queue.lease import Entry, Limit, Loss, Outcome, Settlement
from core.queue.queue import TaskQueue
from tests.support.valkey import PrivateValkey

LEASE_MS = 60_000
HOUR_MS = 3_600_000
MINE = "mine"


def member(number: int) -> Member:
    return Member(id=number, attempt=1, priority=5, cost=1, flow="farm")


async def scores(queue: TaskQueue, key: str) -> dict[int, float]:
    found: Any = await queue.connections.retrying.zrange(key, 0, -1, withscores=True)
    return {Member.parse(text).id: score for text, score in found}


async def test_messages_are_met_on_a_walk_and_dropped_by_id(queue: TaskQueue) -> None:
    await queue.enqueue([Entry(member=member(number), message="{}") for number in range(1, 1201)])
    assert {one async for page in queue.message_ids() for one in page} == set(range(1, 1201))
    assert await queue.drop_messages([*range(2, 1201), 5000]) == 1199
    assert [one async for page in queue.message_ids() for one in page] == [1]
    assert await queue.drop_messages([]) == 0


async def test_what_is_due_too_late_is_brought_forward_and_nothing_is_put_off(queue: TaskQueue) -> None:
    delays = {1: HOUR_MS, 2: 50, 3: 0}
    await queue.enqueue([Entry(member=member(n), delay_ms=delay) for n, delay in delays.items()])
    soon = [Limit(member=member(number), at_most_ms=5000, then_ms=1000) for number in (1, 2, 3, 4)]
    assert await queue.hasten(soon) == [True, False, False, False]
    due = await scores(queue, queue.keys.delayed)
    assert due[2] < due[1] <= await queue.now_ms() + 1000
    assert await queue.hasten(soon) == [False] * 4


async def test_a_lease_that_lasts_too_long_is_cut_and_can_still_be_settled(queue: TaskQueue) -> None:
    await queue.enqueue([Entry(member=member(1))])
    await queue.claim(MINE, HOUR_MS, 1)
    limit = Limit(member=member(1), at_most_ms=LEASE_MS, then_ms=LEASE_MS)
    assert await queue.hasten([limit]) == [True]
    expires_at_ms = (await scores(queue, queue.keys.leased))[1]
    assert expires_at_ms <= await queue.now_ms() + LEASE_MS
    assert await queue.settle([Settlement(member=member(1), token=MINE, outcome=Outcome.ACK)]) == [True]


async def test_a_beat_tells_what_became_of_the_plan(queue: TaskQueue, valkey: PrivateValkey) -> None:
    assert (await queue.beat()).loss(None) is Loss.EMPTIED
    await queue.rebuild_begin("first")
    assert await queue.rebuild_end("first")
    last = await queue.beat()
    assert last.loss(None) is None
    with valkey.client() as client:
        client.hset(queue.keys.meta, "beat", 1)
    back = await queue.beat()
    assert (back.loss(last), back.loss(None)) == (Loss.ROLLED_BACK, None)
    with valkey.client() as client:
        client.hset(queue.keys.meta, "rebuilt_on", "another")
    assert (await queue.beat()).loss(back) is Loss.MOVED
