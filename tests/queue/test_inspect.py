"""Positions and depths are those of one moment."""

from __future__ import annotations

from core.domain.routing import Member
from core.queue.connections import RedisConnections
from core.queue.inspect import QueueInspector
from core.queue.lease import Entry, FlowLimit, Outcome, Position, Settlement
from core.queue.queue import TaskQueue

MINE = "mine"


def member(number: int, flow: str = "farm", cost: int = 1) -> Member:
    return Member(id=number, attempt=1, priority=5, cost=cost, flow=flow)


async def test_a_position_tells_rank_or_why_there_is_none(
    queue: TaskQueue, connections: RedisConnections
) -> None:
    await queue.set_limits([FlowLimit(flow="slow", max_running=1)])
    await queue.enqueue([Entry(member=member(number, "slow")) for number in (1, 2)])
    await queue.claim(MINE, 60_000, 5)
    await queue.enqueue(
        [Entry(member=member(3)), Entry(member=member(4)), Entry(member=member(5), delay_ms=9000)]
    )
    found = await QueueInspector(connections, "recognition").positions(
        [member(4), member(3), member(2, "slow"), member(1, "slow"), member(5), member(6)]
    )
    assert found == [
        Position(rank=2),
        Position(rank=1),
        Position(limited=True),
        Position(leased=True),
        Position(delayed=True),
        Position(),
    ]


async def test_stats_count_by_place_and_flow(queue: TaskQueue, connections: RedisConnections) -> None:
    await queue.set_limits([FlowLimit(flow="slow", max_running=1), FlowLimit(flow="held", hold_ms=60_000)])
    await queue.enqueue([Entry(member=member(number, "slow")) for number in (1, 2)])
    await queue.enqueue([Entry(member=member(3), delay_ms=9000), Entry(member=member(4, cost=5))])
    await queue.claim(MINE, 0, 5)
    await queue.settle([Settlement(member=member(4, cost=5), token=MINE, outcome=Outcome.ACK)])
    await queue.beat()
    stats = await QueueInspector(connections, "recognition").stats()
    assert (stats.ready, stats.delayed, stats.leased, stats.parked, stats.waiting) == (0, 1, 1, 1, 2)
    assert (stats.overdue, stats.expired, stats.served_cost, stats.beat) == (0, 1, 5, 1)
    assert (stats.paused, stats.epoch, stats.ended_per_second) == (False, "", None)
    assert {flow: (one.waiting, one.running) for flow, one in stats.flows.items()} == {
        "slow": (1, 1),
        "farm": (1, 0),
        "held": (0, 0),
    }
    assert (stats.flows["held"].held_until_ms or 0) > stats.now_ms
    assert stats.counters["enqueued"] == 4
    assert stats.counters["claimed"] == 2
    assert stats.counters["acked"] == 1


async def test_an_empty_queue_has_empty_stats(connections: RedisConnections) -> None:
    inspector = QueueInspector(connections, "solo")
    stats = await inspector.stats()
    assert (stats.waiting, stats.leased, stats.flows) == (0, 0, {})
    assert await inspector.rate() is None
