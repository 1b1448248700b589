"""Each transition and its edges, on a real server."""

from __future__ import annotations

import uuid

import pytest

from core.domain.routing import Member
from core.errors import QueueUnavailable, StalePlan
from core.queue.connections import RedisConnections, RedisSettings
from core.queue.inspect import QueueInspector
from core.queue.lease import CancelOutcome, Entry, FlowLimit, Outcome, Place, Settlement
from core.queue.queue import MAX_MESSAGE_BYTES, TaskQueue
from tests.support.valkey import PrivateValkey

LEASE_MS = 60_000
MINE, DEAD = "mine", "dead"


def member(number: int, *, attempt: int = 1, priority: int = 5, flow: str = "farm") -> Member:
    return Member(id=number, attempt=attempt, priority=priority, cost=1, flow=flow)


def entries(*numbers: int, delay_ms: int = 0) -> list[Entry]:
    return [Entry(member=member(number), delay_ms=delay_ms) for number in numbers]


def ack(number: int, token: str) -> Settlement:
    return Settlement(member=member(number), token=token, outcome=Outcome.ACK)


async def claimed(queue: TaskQueue, n: int, token: str = MINE, lease_ms: int = LEASE_MS) -> list[int]:
    return [lease.member.id for lease in (await queue.claim(token, lease_ms, n)).leases]


async def test_enqueueing_again_changes_nothing(queue: TaskQueue) -> None:
    assert await queue.enqueue(entries(1, 2, 1)) == [True, True, False]
    assert await claimed(queue, 1) == [1]
    assert await queue.enqueue(entries(1, 2, 3)) == [False, False, True]
    assert await claimed(queue, 10) == [2, 3]


async def test_calls_with_nothing_ask_nobody(valkey: PrivateValkey) -> None:
    connections = RedisConnections(RedisSettings(url=f"{valkey.url}.missing"))
    queue = TaskQueue(connections, "recognition")
    assert await queue.enqueue([]) == await queue.extend(1, []) == await queue.settle([]) == []
    assert await queue.cancel([]) == []
    assert await QueueInspector(connections, "recognition").positions([]) == []
    await queue.set_limits([])
    await connections.close()


async def test_a_claim_tells_who_it_was_for_and_until_when(queue: TaskQueue) -> None:
    await queue.enqueue([Entry(member=member(1), message='{"id": "1"}')])
    claim = await queue.claim(MINE, LEASE_MS, 5)
    (lease,) = claim.leases
    assert (lease.member, lease.token, lease.message) == (member(1), MINE, '{"id": "1"}')
    assert lease.expires_at_ms == claim.now_ms + LEASE_MS
    assert (claim.epoch, claim.beat, claim.paused, claim.next_due_ms) == ("", 0, False, None)


async def test_a_message_above_the_limit_is_left_out(queue: TaskQueue) -> None:
    fits, too_large = "x" * MAX_MESSAGE_BYTES, "ü" * (MAX_MESSAGE_BYTES // 2 + 1)
    await queue.enqueue([Entry(member=member(1), message=fits), Entry(member=member(2), message=too_large)])
    claim = await queue.claim(MINE, LEASE_MS, 5)
    assert [lease.message for lease in claim.leases] == [fits, None]


async def test_a_stale_token_cannot_settle_or_extend(queue: TaskQueue) -> None:
    await queue.enqueue(entries(1))
    await claimed(queue, 1)
    assert await queue.settle([ack(1, "another"), ack(2, MINE)]) == [False, False]
    assert await queue.extend(LEASE_MS, [(member(1), "another"), (member(1), MINE)]) == [False, True]
    assert await queue.settle([ack(1, MINE), ack(1, MINE)]) == [True, False]


async def test_a_retry_puts_the_next_attempt_in(queue: TaskQueue) -> None:
    await queue.enqueue(entries(1))
    await claimed(queue, 1)
    second = member(1, attempt=2)
    retry = Settlement(member=member(1), token=MINE, outcome=Outcome.RETRY, next_member=second)
    assert await queue.settle([retry]) == [True]
    assert [lease.member for lease in (await queue.claim(MINE, LEASE_MS, 5)).leases] == [second]


async def test_a_delayed_entry_tells_when_it_is_due(queue: TaskQueue) -> None:
    await queue.enqueue(entries(1, delay_ms=5000))
    claim = await queue.claim(MINE, LEASE_MS, 5)
    assert claim.leases == ()
    assert claim.next_due_seconds == pytest.approx(5, abs=1)


def test_an_ending_without_its_next_member_is_refused() -> None:
    with pytest.raises(ValueError, match="next_member"):
        Settlement(member=member(1), token=MINE, outcome=Outcome.RETRY)
    with pytest.raises(ValueError, match="next_member"):
        Settlement(member=member(1), token=MINE, outcome=Outcome.ACK, next_member=member(1))


@pytest.mark.parametrize("wrong", [{"flow": ""}, {"weight": 0}, {"max_running": -1}, {"hold_ms": -1}])
def test_a_limit_that_makes_no_sense_is_refused(wrong: dict[str, str | int]) -> None:
    given: dict[str, str | int] = {"flow": "farm", **wrong}
    with pytest.raises(ValueError, match=r"a flow needs|cannot be negative"):
        FlowLimit(**given)  # type: ignore[arg-type]  # wrong on purpose


async def test_a_reaper_takes_over_and_is_itself_reaped(queue: TaskQueue) -> None:
    await queue.enqueue(entries(1))
    await claimed(queue, 1, token=DEAD, lease_ms=0)
    assert await queue.reap("first", 10, 0) == [member(1)]
    assert await queue.settle([ack(1, DEAD)]) == [False]
    assert await queue.reap("second", 10, LEASE_MS) == [member(1)]
    assert await queue.reap("third", 10, LEASE_MS) == []
    assert await queue.settle([ack(1, "first"), ack(1, "second")]) == [False, True]


async def test_cancel_takes_out_what_waits_and_leaves_what_runs(queue: TaskQueue) -> None:
    await queue.enqueue(entries(1, 2))
    await queue.enqueue(entries(3, delay_ms=9000))
    await claimed(queue, 1)
    outcomes = await queue.cancel([member(number) for number in (1, 2, 3, 4)])
    waiting = CancelOutcome.WAITING
    assert outcomes == [CancelOutcome.LEASED, waiting, waiting, CancelOutcome.ABSENT]
    assert await queue.settle([ack(1, MINE)]) == [True]


async def test_a_paused_queue_takes_in_and_gives_nothing(queue: TaskQueue) -> None:
    await queue.pause()
    await queue.enqueue(entries(1))
    claim = await queue.claim(MINE, LEASE_MS, 5)
    assert (claim.paused, claim.leases) == (True, ())
    assert await queue.wait(1)
    await queue.resume()
    assert await queue.wait(1)
    assert await claimed(queue, 5) == [1]


async def test_waiting_ends_by_a_token_or_by_time(queue: TaskQueue) -> None:
    assert await queue.wait(0) is False
    assert await queue.wait(0.05) is False
    await queue.enqueue(entries(1))
    assert await queue.wait(5) is True


async def test_wake_tokens_do_not_pile_up(queue: TaskQueue, connections: RedisConnections) -> None:
    await queue.enqueue(entries(*range(1, 101)))
    await queue.enqueue(entries(*range(101, 201)))
    assert await connections.retrying.llen(queue.keys.wake) == 64


async def test_a_rebuild_sets_a_new_epoch(queue: TaskQueue) -> None:
    rebuild_id = str(uuid.uuid4())
    await queue.rebuild_begin(rebuild_id)
    assert await queue.enqueue(entries(1), rebuild_id) == [True]
    assert await queue.rebuild_end(rebuild_id) is True
    assert (await queue.beat()).epoch == (await queue.claim(MINE, LEASE_MS, 1)).epoch == rebuild_id


async def test_a_rebuild_that_was_overtaken_adds_nothing(queue: TaskQueue, valkey: PrivateValkey) -> None:
    await queue.rebuild_begin("first")
    await queue.rebuild_begin("second")
    with pytest.raises(StalePlan):
        await queue.enqueue(entries(1), "first")
    assert await queue.rebuild_end("first") is False
    valkey.flush()
    with pytest.raises(StalePlan):
        await queue.enqueue(entries(1), "second")
    assert await queue.rebuild_end("second") is False


async def test_the_beat_counts_and_names_the_server(queue: TaskQueue, valkey: PrivateValkey) -> None:
    first, second = await queue.beat(), await queue.beat()
    assert (first.beat, second.beat) == (1, 2)
    assert first.run_id == second.run_id != ""
    valkey.flush()
    assert (await queue.beat()).beat == 1


async def test_every_entry_is_met_on_a_walk(queue: TaskQueue) -> None:
    await queue.set_limits([FlowLimit(flow="farm", max_running=1)])
    await queue.enqueue(entries(*range(1, 1201)))
    await queue.enqueue(entries(2001, delay_ms=9000))
    await claimed(queue, 5)
    met: dict[Place, set[int]] = {}
    for place in Place:
        met[place] = {one.id async for page in queue.members(place) for one in page}
    assert met[Place.LEASED] == {1}
    assert met[Place.DELAYED] == {2001}
    assert met[Place.PARKED] == set(range(2, 202))
    assert met[Place.READY] == set(range(202, 1201))


async def test_a_server_that_is_away_is_said_to_be(valkey: PrivateValkey) -> None:
    connections = RedisConnections(RedisSettings(url=f"{valkey.url}.missing", retries=1))
    with pytest.raises(QueueUnavailable) as raised:
        await TaskQueue(connections, "recognition").claim(MINE, LEASE_MS, 1)
    assert raised.value.__cause__ is not None
    await connections.close()
