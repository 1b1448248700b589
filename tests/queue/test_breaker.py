"""When a flow is left alone and when no longer, whoever saw its failures."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from core.domain.routing import Member
from core.queue.breaker import MAX_HOLD_SECONDS, Breaker, Verdict
from core.queue.lease import Entry, Outcome, Settlement
from tests.support.queue_bench import START_MS, QueueBench, sources_under_test
from tests.support.valkey import PrivateValkey

LEASE_MS = 5000
MINE = "mine"


class Hosts:
    """Two processes' view of the same flows, under a clock to set."""

    def __init__(self, bench: QueueBench) -> None:
        self._bench, self._now_ms = bench, START_MS
        self._breakers = [Breaker(bench.queue, failures=5, first_hold_seconds=30) for _ in range(2)]

    def failed(self, flow: str = "a", *, process: int = 0) -> float | None:
        return self._bench.run(self._breakers[process].failed(flow)).hold_seconds

    def succeeded(self, flow: str = "a", *, process: int = 0) -> Verdict:
        return self._bench.run(self._breakers[process].succeeded(flow))

    def later(self, seconds: float) -> None:
        self._now_ms += int(seconds * 1000)
        self._bench.set_clock(self._now_ms)

    def enqueue(self, *numbers: int, flow: str = "a") -> None:
        self._bench.run(self._bench.queue.enqueue([Entry(member=member(n, flow)) for n in numbers]))

    def claimed(self) -> list[int]:
        claim = self._bench.run(self._bench.queue.claim(MINE, LEASE_MS, 10))
        return [lease.member.id for lease in claim.leases]

    def settle(self, *numbers: int, flow: str = "a") -> None:
        done = [Settlement(member=member(n, flow), token=MINE, outcome=Outcome.ACK) for n in numbers]
        self._bench.run(self._bench.queue.settle(done))


def member(number: int, flow: str) -> Member:
    return Member(id=number, attempt=1, priority=0, cost=1, flow=flow)


@pytest.fixture
def hosts(valkey: PrivateValkey) -> Iterator[Hosts]:
    with QueueBench(valkey, sources_under_test()) as bench:
        bench.begin()
        yield Hosts(bench)


def test_the_fifth_failure_in_a_row_holds_the_flow_whoever_saw_it(hosts: Hosts) -> None:
    seen = [hosts.failed(process=number % 2) for number in range(5)]

    assert seen == [None, None, None, None, 30]
    hosts.enqueue(1)
    hosts.enqueue(2, flow="b")
    assert hosts.claimed() == [2]


def test_a_success_seen_by_another_process_starts_the_count_anew(hosts: Hosts) -> None:
    for _ in range(4):
        hosts.failed(process=0)
    hosts.succeeded(process=1)

    assert [hosts.failed(process=0) for _ in range(4)] == [None] * 4
    assert hosts.failed(process=1) == 30


def test_what_was_under_way_when_the_hold_began_does_not_double_it(hosts: Hosts) -> None:
    assert [hosts.failed(process=number % 2) for number in range(9)][4:] == [30, None, None, None, None]
    hosts.later(30)
    assert hosts.failed() == 60


def test_the_hold_doubles_with_every_failed_probe_up_to_ten_minutes(hosts: Hosts) -> None:
    holds = []
    for _ in range(40):
        hold_seconds = hosts.failed()
        if hold_seconds is not None:
            holds.append(hold_seconds)
            hosts.later(hold_seconds)

    assert holds[:6] == [30, 60, 120, 240, 480, 600]
    assert set(holds[6:]) == {MAX_HOLD_SECONDS}


def test_one_probe_passes_when_the_hold_is_over_and_its_success_frees_all(hosts: Hosts) -> None:
    for _ in range(5):
        hosts.failed(process=0)
    hosts.enqueue(1, 2, 3)
    assert hosts.claimed() == []
    hosts.later(30)
    assert hosts.claimed() == [1]
    assert hosts.claimed() == []

    assert hosts.succeeded(process=1) == Verdict(freed=True)
    hosts.settle(1)

    assert hosts.claimed() == [2, 3]
    assert [hosts.failed() for _ in range(5)] == [None, None, None, None, 30]


def test_a_probe_that_fails_keeps_the_others_parked_for_twice_as_long(hosts: Hosts) -> None:
    for _ in range(5):
        hosts.failed()
    hosts.enqueue(1, 2)
    hosts.later(30)
    assert hosts.claimed() == [1]

    assert hosts.failed(process=1) == 60
    hosts.settle(1)

    hosts.later(59)
    assert hosts.claimed() == []
    hosts.later(1)
    assert hosts.claimed() == [2]


def test_a_success_of_a_flow_that_was_never_held_frees_nothing(hosts: Hosts) -> None:
    assert hosts.succeeded() == Verdict()
    hosts.failed()
    assert hosts.succeeded() == Verdict()


def test_flows_are_counted_apart(hosts: Hosts) -> None:
    for _ in range(4):
        hosts.failed("a")
    assert hosts.failed("b") is None
    assert hosts.failed("a") == 30


def test_a_flow_that_succeeds_leaves_no_key_and_one_that_fails_a_key_that_expires(
    hosts: Hosts, valkey: PrivateValkey
) -> None:
    hosts.failed("gone")
    hosts.failed("back")
    hosts.succeeded("back")

    with valkey.client() as client:
        assert client.keys("*breaker*") == ["mst:{test}:breaker:gone"]
        assert 0 < client.ttl("mst:{test}:breaker:gone") <= 86_400
