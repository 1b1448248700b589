"""Whose turn it is: shares, bands, limits, holds and aging, on a clock that the test sets."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import pytest

from core.domain.routing import Member
from core.queue.lease import Entry, FlowLimit, Outcome, Settlement
from core.queue.queue import TaskQueue
from tests.support.queue_bench import AGING_MS, DEFAULT_MAX_RUNNING, START_MS, QueueBench, sources_under_test
from tests.support.valkey import PrivateValkey

LEASE_MS = 1000
MINE = "mine"


class Worked:
    """A queue with a clock, driven step by step; nothing of a flow is limited unless a test says so."""

    def __init__(self, bench: QueueBench) -> None:
        self.bench = bench
        self.queue: TaskQueue = bench.queue
        self.now_ms = START_MS
        self._numbers = iter(range(1, 1_000_000))

    def submit(self, flow: str, count: int, *, priority: int = 5, cost: int = 1) -> list[Member]:
        members = [
            Member(id=next(self._numbers), attempt=1, priority=priority, cost=cost, flow=flow)
            for _ in range(count)
        ]
        self.bench.run(self.queue.enqueue([Entry(member=member) for member in members]))
        return members

    def claim(self, n: int) -> list[Member]:
        return [lease.member for lease in self.bench.run(self.queue.claim(MINE, LEASE_MS, n)).leases]

    def flows(self, n: int) -> list[str]:
        return [member.flow for member in self.claim(n)]

    def end(self, *members: Member, outcome: Outcome = Outcome.ACK) -> None:
        for member in members:
            again = None if outcome is Outcome.ACK else member
            one = Settlement(member=member, token=MINE, outcome=outcome, next_member=again)
            assert self.bench.run(self.queue.settle([one])) == [True]

    def limit(self, flow: str, **bounds: int) -> None:
        limits = {"max_running": 1_000_000, **bounds}
        self.bench.run(self.queue.set_limits([FlowLimit(flow=flow, **limits)]))

    def pass_time(self, ms: int) -> None:
        self.now_ms += ms
        self.bench.set_clock(self.now_ms)


@pytest.fixture
def worked(valkey: PrivateValkey) -> Iterator[Worked]:
    with QueueBench(valkey, sources_under_test()) as bench:
        bench.begin()
        work = Worked(bench)
        for flow in ("big", "small", "farm"):
            work.limit(flow)
        yield work


def test_a_thousand_of_one_system_do_not_delay_five_of_another(worked: Worked) -> None:
    worked.submit("big", 1000)
    worked.claim(10)
    worked.submit("small", 5)
    first, then = worked.flows(10), worked.flows(20)
    assert Counter(first) == {"big": 5, "small": 5}
    assert all(first[i] != first[i + 1] for i in range(9))
    assert set(then) == {"big"}


def test_weights_of_three_to_one_share_three_to_one(worked: Worked) -> None:
    worked.limit("big", weight=3)
    worked.submit("big", 400)
    worked.submit("small", 400)
    assert Counter(worked.flows(200)) == {"big": 150, "small": 50}


def test_who_costs_more_is_served_less_often(worked: Worked) -> None:
    worked.submit("big", 100, cost=4)
    worked.submit("small", 100)
    assert Counter(worked.flows(50)) == {"big": 10, "small": 40}


def test_one_flow_alone_is_served_first_come_first_served(worked: Worked) -> None:
    members = worked.submit("farm", 30)
    assert worked.claim(30) == members


def test_a_lower_priority_number_is_served_first(worked: Worked) -> None:
    late = worked.submit("farm", 2, priority=9)
    soon = worked.submit("farm", 2, priority=0)
    assert worked.claim(4) == soon + late


def test_a_failing_system_that_comes_back_at_once_cannot_jump_the_others(worked: Worked) -> None:
    worked.submit("big", 20)
    worked.submit("small", 200)
    served: Counter[str] = Counter()
    for _ in range(100):
        (member,) = worked.claim(1)
        served[member.flow] += 1
        worked.end(member, outcome=Outcome.RELEASE if member.flow == "big" else Outcome.ACK)
    assert served == {"big": 50, "small": 50}


def test_an_idle_system_saves_up_no_turns(worked: Worked) -> None:
    worked.submit("big", 300)
    worked.claim(100)
    worked.submit("small", 100)
    assert Counter(worked.flows(20)) == {"big": 10, "small": 10}


def test_tags_begin_again_when_nothing_waits(worked: Worked) -> None:
    worked.submit("big", 50)
    worked.claim(50)
    worked.submit("big", 10)
    worked.submit("small", 10)
    assert Counter(worked.flows(10)) == {"big": 5, "small": 5}


def test_no_more_of_a_flow_run_than_may(worked: Worked) -> None:
    worked.limit("big", max_running=2)
    waiting = worked.submit("big", 5)
    others = worked.submit("small", 5)
    taken = worked.claim(5) + worked.claim(5)
    assert [member for member in taken if member.flow == "big"] == waiting[:2]
    assert [member for member in taken if member.flow == "small"] == others
    worked.end(waiting[0])
    assert worked.claim(5) == waiting[2:3]


def test_flows_without_limits_of_their_own_have_the_queues_default(worked: Worked) -> None:
    worked.submit("another", 5)
    assert len(worked.claim(5)) == DEFAULT_MAX_RUNNING


def test_raising_a_limit_brings_back_what_fits(worked: Worked) -> None:
    worked.limit("big", max_running=1)
    waiting = worked.submit("big", 3)
    assert worked.claim(3) + worked.claim(3) == waiting[:1]
    worked.limit("big", max_running=2)
    assert worked.claim(3) == waiting[1:2]


def test_a_cancelled_entry_gives_its_free_place_to_the_next_parked_one(worked: Worked) -> None:
    worked.limit("big", max_running=1)
    first, second, third = worked.submit("big", 3)
    worked.claim(3)
    worked.claim(3)
    worked.end(first)
    worked.bench.run(worked.queue.cancel([second]))
    assert worked.claim(3) == [third]


def test_a_claim_that_moved_enough_asks_to_be_repeated_at_once(worked: Worked) -> None:
    worked.limit("big", max_running=0)
    worked.submit("big", 3)
    worked.submit("small", 1, priority=6)
    claim = worked.bench.run(worked.queue.claim(MINE, LEASE_MS, 1))
    assert (claim.leases, claim.next_due_ms) == ((), claim.now_ms)
    assert worked.flows(1) == ["small"]


def test_a_held_flow_lets_one_probe_pass_when_the_hold_is_over(worked: Worked) -> None:
    waiting = worked.submit("big", 4)
    worked.limit("big", hold_ms=5000)
    for _ in range(2):
        claim = worked.bench.run(worked.queue.claim(MINE, LEASE_MS, 5))
        assert claim.leases == ()
    assert claim.next_due_ms == START_MS + 5000
    worked.pass_time(5000)
    assert worked.claim(5) + worked.claim(5) == waiting[:1]


def test_a_freed_flow_comes_back_in_its_old_order(worked: Worked) -> None:
    waiting = worked.submit("big", 4)
    worked.limit("big", hold_ms=5000)
    worked.claim(5)
    worked.claim(5)
    worked.limit("big", hold_ms=0)
    back = worked.claim(2)
    worked.end(*back)
    assert back + worked.claim(5) == waiting


def test_writing_limits_again_leaves_a_hold_as_it_is(worked: Worked) -> None:
    worked.submit("big", 2)
    worked.limit("big", hold_ms=5000)
    worked.limit("big")
    assert worked.claim(5) == []


def test_another_probe_passes_when_nobody_tells_how_the_first_one_went(worked: Worked) -> None:
    waiting = worked.submit("big", 3)
    worked.limit("big", hold_ms=100)
    worked.claim(5)
    worked.pass_time(100)
    assert worked.claim(5) == waiting[:1]
    worked.pass_time(LEASE_MS)
    assert worked.claim(5) == waiting[1:2]


def test_a_cancelled_probe_is_replaced(worked: Worked) -> None:
    first, second = worked.submit("big", 2)
    ahead = worked.submit("small", 1, priority=0)
    worked.limit("big", hold_ms=100)
    worked.claim(5)
    worked.end(*ahead)
    worked.submit("small", 1, priority=0)
    worked.pass_time(100)
    assert worked.flows(1) == ["small"]
    worked.bench.run(worked.queue.cancel([first]))
    assert worked.claim(5) == [second]


def test_who_waits_long_moves_up_band_by_band_with_the_same_member(worked: Worked) -> None:
    (old,) = worked.submit("farm", 1, priority=7)
    keys, client = worked.queue.keys, worked.bench.client
    worked.submit("big", 100, priority=4)

    def band() -> int:
        score = client.zscore(keys.ready, str(old))
        return int(score // 2**40) if isinstance(score, float) else -1

    bands = []
    for _ in range(5):
        bands.append(band())
        worked.pass_time(AGING_MS // 2 + 1)
        assert worked.claim(1)[0].flow == "big"
    # Half an aging time a step: up after the 2nd and the 4th, each band for one more aging time.
    assert bands == [7, 7, 6, 6, 5]


def test_aging_looks_at_most_once_a_second(worked: Worked) -> None:
    (old,) = worked.submit("farm", 1, priority=7)
    worked.submit("big", 100, priority=4)
    worked.pass_time(3 * AGING_MS + 10)
    for _ in range(5):
        worked.claim(1)
    score = worked.bench.client.zscore(worked.queue.keys.ready, str(old))
    assert isinstance(score, float)
    assert int(score // 2**40) == 6
