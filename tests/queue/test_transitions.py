"""Each transition and its edges, on a real server."""

from __future__ import annotations

from core.domain.routing import Member
from core.queue.lease import Entry
from core.queue.queue import TaskQueue


def member(id: int, *, attempt: int = 1, priority: int = 5, cost: int = 1, flow: str = "farm") -> Member:
    return Member(id=id, attempt=attempt, priority=priority, cost=cost, flow=flow)


async def test_claim_takes_in_order(queue: TaskQueue) -> None:
    assert await queue.enqueue([Entry(member=member(1), message="m"), Entry(member=member(2))]) == [
        True,
        True,
    ]
    claim = await queue.claim("t", 1000, 5)
    assert [lease.member.id for lease in claim.leases] == [1, 2]
