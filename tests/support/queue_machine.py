"""Random interleavings of every script by several workers, each step held against the model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from core.domain.routing import Member
from core.errors import StalePlan
from core.queue.lease import CancelOutcome, Entry, FlowLimit, Limit, Outcome, Settlement
from tests.support.queue_bench import QueueBench, state_of_model
from tests.support.queue_hastening import hasten
from tests.support.queue_model import WAKE_TOKENS, QueueModel, in_order

FLOWS = ("big", "small", "odd:flow")
_PRIORITIES = (5, 5, 6, 5, 0)
_TOKENS = st.sampled_from(["anna", "ben", "carl"])
_TASKS = 12
_TRULY = st.sampled_from([True, True, True, False])
_DELAYS = st.sampled_from([0, 0, 0, 1, 900, 5000])
_MESSAGES = st.sampled_from([None, "{}", '{"id": "1"}'])
_REBUILD = st.sampled_from(["first", "second"])
_REBUILDS = st.sampled_from(["", "", "", "", "first", "second"])
_INDEX = st.integers(0, 9)


def _member(index: int, attempt: int) -> Member:
    """One of few tasks, so that they meet; flow, band and cost go with the id."""
    return Member(
        id=(index * 7 << 22) + index,
        attempt=attempt,
        priority=_PRIORITIES[index % len(_PRIORITIES)],
        cost=1 + index % 4,
        flow=FLOWS[index % len(FLOWS)],
    )


_MEMBERS = st.builds(_member, st.integers(0, _TASKS - 1), st.sampled_from([1, 1, 1, 2]))
_ENTRIES = st.builds(Entry, member=_MEMBERS, delay_ms=_DELAYS, message=_MESSAGES)
_LIMITS = st.builds(
    FlowLimit,
    flow=st.sampled_from(FLOWS),
    weight=st.sampled_from([1, 1, 3, 0.3]),
    max_running=st.sampled_from([None, None, 1, 3, 4, 0]),
    hold_ms=st.sampled_from([None, None, None, None, 0, 100, 100]),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """How a lease is to end."""

    outcome: Outcome
    delay_ms: int = 0
    message: str | None = None

    def settlement(self, member: Member, token: str) -> Settlement:
        """End one lease like this."""
        successors = {
            Outcome.ACK: None,
            Outcome.RELEASE: member,
            Outcome.RETRY: _member(member.id & 0xFF, member.attempt + 1),
        }
        return Settlement(
            member=member,
            token=token,
            outcome=self.outcome,
            next_member=successors[self.outcome],
            delay_ms=self.delay_ms,
            message=self.message,
        )


_ENDS = st.builds(Ending, outcome=st.sampled_from(Outcome), delay_ms=_DELAYS, message=_MESSAGES)


def _something_is_leased(machine: QueueMachine) -> bool:
    return bool(machine.model.leased)


class QueueMachine(RuleBasedStateMachine):
    """The rules; `machine_for` gives the queue under test."""

    bench: QueueBench

    def __init__(self) -> None:
        super().__init__()
        self.model: QueueModel = self.bench.begin()
        self.alive: set[Member] = set()

    @initialize(entries=st.lists(_ENTRIES, min_size=6, max_size=12))
    def begin(self, entries: list[Entry]) -> None:
        self.enqueue(entries, "")

    @rule(late_ms=st.sampled_from([-1, 0, 0, 1100, 3001]))
    def time_passes(self, late_ms: int) -> None:
        self._go_to([*self.model.delayed.values(), *self.model.held.values()], late_ms)

    def _go_to(self, moments: list[float], late_ms: int) -> None:
        """Go to the next of these moments, or just before or after it."""
        model = self.model
        ahead = min((moment for moment in moments if moment > model.now_ms), default=model.now_ms)
        model.now_ms = max(model.now_ms, int(ahead) + late_ms)
        self.bench.set_clock(model.now_ms)

    @rule(entries=st.lists(_ENTRIES, min_size=1, max_size=4), rebuild_id=_REBUILDS)
    def enqueue(self, entries: list[Entry], rebuild_id: str) -> None:
        expected = self.model.enqueue(entries, rebuild_id)
        try:
            flags = self.bench.run(self.bench.queue.enqueue(entries, rebuild_id))
        except StalePlan:
            assert expected is None
            return
        assert flags == expected
        self.alive.update(entry.member for entry in entries)

    @rule(
        token=_TOKENS,
        n=st.sampled_from([1, 2, 4, 6, 0]),
        lease_ms=st.sampled_from([100, 3000]),
        limit=st.sampled_from([1, 100]),
    )
    def claim(self, token: str, n: int, lease_ms: int, limit: int) -> None:
        claim = self.bench.run(self.bench.queue.claim(token, lease_ms, n, limit))
        assert claim == self.model.claim(token, lease_ms, n, limit)

    @precondition(_something_is_leased)
    @rule(index=_INDEX, token=_TOKENS, truly=_TRULY)
    def extend(self, index: int, token: str, truly: bool) -> None:
        pairs = [self._held_by(index, token, truly), self._held_by(index + 1, token, True)]
        assert self.bench.run(self.bench.queue.extend(2000, pairs)) == self.model.extend(2000, pairs)

    @precondition(_something_is_leased)
    @rule(index=_INDEX, token=_TOKENS, truly=_TRULY, ends=st.lists(_ENDS, min_size=1, max_size=2))
    def settle(self, index: int, token: str, truly: bool, ends: list[Ending]) -> None:
        batch = [end.settlement(*self._held_by(index + i, token, truly)) for i, end in enumerate(ends)]
        flags = self.bench.run(self.bench.queue.settle(batch))
        assert flags == self.model.settle(batch)
        for one, mine in zip(batch, flags, strict=True):
            if mine:
                self.alive.discard(one.member)
                self.alive.update(() if one.next_member is None else (one.next_member,))

    def _held_by(self, index: int, token: str, truly: bool) -> tuple[Member, str]:
        """Pick a leased entry and, if `truly`, the token of its owner."""
        leased = in_order(self.model.leased)
        if index == 0:
            return _member(0, 1), token
        member = leased[index % len(leased)]
        return member, self.model.owner[member] if truly else token

    @precondition(_something_is_leased)
    @rule(
        late_ms=st.sampled_from([-1, 0, 100]), limit=st.integers(1, 3), hold_ms=st.sampled_from([100, 3000])
    )
    def reap(self, late_ms: int, limit: int, hold_ms: int) -> None:
        self._go_to([*self.model.leased.values()], late_ms)
        taken = self.bench.run(self.bench.queue.reap("reaper", limit, hold_ms))
        assert taken == self.model.reap("reaper", limit, hold_ms)

    @rule(index=_INDEX, member=_MEMBERS)
    def cancel(self, index: int, member: Member) -> None:
        ready = in_order(self.model.ready)
        members = [*ready[index % 3 : index % 3 + 1], member]
        outcomes = self.bench.run(self.bench.queue.cancel(members))
        assert outcomes == self.model.cancel(members)
        gone = zip(members, outcomes, strict=True)
        self.alive -= {member for member, outcome in gone if outcome is CancelOutcome.WAITING}

    @rule(index=_INDEX, at_most_ms=st.sampled_from([0, 800, 4000]))
    def hasten(self, index: int, at_most_ms: int) -> None:
        timed = [*in_order({**self.model.delayed, **self.model.leased})[index % 3 :][:2], _member(0, 99)]
        limits = [Limit(member=one, at_most_ms=at_most_ms, then_ms=at_most_ms // 2) for one in timed]
        assert self.bench.run(self.bench.queue.hasten(limits)) == hasten(self.model, limits)

    @rule(limits=st.lists(_LIMITS, min_size=1, max_size=1))
    def limit(self, limits: list[FlowLimit]) -> None:
        self.bench.run(self.bench.queue.set_limits(limits))
        self.model.set_limits(limits)

    @rule(what=st.sampled_from(["look", "begin", "end", "beat", "go on", "pause"]), rebuild_id=_REBUILD)
    def manage(self, what: str, rebuild_id: str) -> None:
        match what:
            case "begin":
                self.bench.run(self.bench.queue.rebuild_begin(rebuild_id))
                self.model.rebuilding, self.model.epoch = rebuild_id, ""
            case "end":
                assert self.bench.run(self.bench.queue.rebuild_end(rebuild_id)) == self._end(rebuild_id)
            case "beat":
                self._beat()
            case "look":
                self._look()
            case _:
                self._pause(what == "pause")

    def _end(self, rebuild_id: str) -> bool:
        if rebuild_id != self.model.rebuilding:
            return False
        self.model.rebuilding, self.model.epoch = "", rebuild_id
        return True

    def _pause(self, paused: bool) -> None:
        self.bench.run(self.bench.queue.set_paused(paused))
        if self.model.paused and not paused:
            self.model.wake_tokens = WAKE_TOKENS
        self.model.paused = paused

    def _beat(self) -> None:
        self.model.beat += 1
        told = self.bench.run(self.bench.queue.beat())
        assert (told.beat, told.epoch, told.paused) == (self.model.beat, self.model.epoch, self.model.paused)
        self.bench.drain_wake()
        self.model.wake_tokens = 0

    def _look(self) -> None:
        members = [*self.model.everything(), _member(0, 99)]
        positions = self.bench.run(self.bench.inspector.positions(members))
        ranks = {member: rank for rank, member in enumerate(in_order(self.model.ready), 1)}
        for member, position in zip(members, positions, strict=True):
            assert position.rank == ranks.get(member)
            assert position.limited == (member in self.model.parked)
            assert position.delayed == (member in self.model.delayed)
            assert position.leased == (member in self.model.leased)

    @invariant()
    def the_server_is_as_the_model_says(self) -> None:
        state: dict[str, Any] = self.bench.state(FLOWS)
        assert state == state_of_model(self.model)

    @invariant()
    def every_entry_is_in_exactly_one_place_and_none_is_lost(self) -> None:
        everywhere = self.model.everything()
        assert len(everywhere) == len(set(everywhere))
        assert set(everywhere) == self.alive
        assert self.model.owner.keys() == self.model.leased.keys()

    @invariant()
    def nobody_is_parked_for_ever(self) -> None:
        for flow in {member.flow for member in self.model.parked}:
            comes_back_later = self.model.held.get(flow, 0) > 0 or self.model.room(flow) < 1
            assert comes_back_later or any(member.flow == flow for member in self.model.ready)


def machine_for(bench: QueueBench) -> type[QueueMachine]:
    """The rules on one bench."""
    return type("BenchedQueueMachine", (QueueMachine,), {"bench": bench})
