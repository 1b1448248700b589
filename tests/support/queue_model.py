"""What the queue's scripts should do, in plain Python: slow, obvious and without a server.

Arithmetic on scores is the same IEEE arithmetic that Lua does, so they compare exactly.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from core.domain.routing import Member
from core.queue.lease import Claim, Entry, FlowLimit, Lease, Outcome, Settlement

BAND = 2.0**40
BANDS = range(10)
WAKE_TOKENS = 64


def in_order(scores: dict[Member, float]) -> list[Member]:
    """Sort as a sorted set does: by score, then by the bytes of the member."""
    return sorted(scores, key=lambda member: (scores[member], str(member).encode()))


@dataclass(slots=True, kw_only=True)
class QueueModel:
    """The state of one queue and its transitions."""

    now_ms: int
    id_epoch_ms: int
    moves: int
    aging_ms: int
    default_max_running: int | None = None
    ready: dict[Member, float] = field(default_factory=dict)
    delayed: dict[Member, float] = field(default_factory=dict)
    leased: dict[Member, float] = field(default_factory=dict)
    owner: dict[Member, str] = field(default_factory=dict)
    parked: dict[Member, float] = field(default_factory=dict)
    messages: dict[int, str] = field(default_factory=dict)
    weights: dict[str, float] = field(default_factory=dict)
    max_running: dict[str, int] = field(default_factory=dict)
    held: dict[str, int] = field(default_factory=dict)
    virtual_times: dict[int, float] = field(default_factory=dict)
    last_tags: dict[tuple[int, str], float] = field(default_factory=dict)
    served_cost: int = 0
    epoch: str = ""
    rebuilding: str = ""
    beat: int = 0
    paused: bool = False
    aged_at_ms: int = 0
    wake_tokens: int = 0

    @property
    def waiting(self) -> Counter[str]:
        """Entries that are not leased, by flow."""
        return Counter(member.flow for member in (*self.ready, *self.delayed, *self.parked))

    @property
    def running(self) -> Counter[str]:
        """Leased entries, by flow."""
        return Counter(member.flow for member in self.leased)

    def everything(self) -> list[Member]:
        """Every entry, once for each place it is in."""
        return [*self.ready, *self.delayed, *self.leased, *self.parked]

    def room(self, flow: str) -> float:
        """How many more of a flow may run."""
        limit = self.max_running.get(flow, self.default_max_running)
        return math.inf if limit is None else limit - self.running[flow]

    def _wake(self, tokens: int) -> None:
        self.wake_tokens = min(WAKE_TOKENS, self.wake_tokens + tokens)

    def _to_ready(self, member: Member) -> None:
        if not self.ready and not self.parked:
            self.virtual_times.clear()
            self.last_tags.clear()
        band, flow = member.priority, member.flow
        start = max(self.virtual_times.get(band, 0.0), self.last_tags.get((band, flow), 0.0))
        tag = start + member.cost / self.weights.get(flow, 1.0)
        self.last_tags[band, flow] = tag
        self.ready[member] = band * BAND + tag

    def _enter(self, entry: Entry) -> bool:
        if entry.member in self.everything():
            return False
        if entry.message is not None:
            self.messages.setdefault(entry.member.id, entry.message)
        if entry.delay_ms > 0:
            self.delayed[entry.member] = self.now_ms + entry.delay_ms
        else:
            self._to_ready(entry.member)
        return True

    def _restore(self, flow: str) -> None:
        until_ms = self.held.get(flow)
        fit = min(self.room(flow), self.moves)
        if until_ms is not None:
            fit = 0 if until_ms > self.now_ms else min(fit, 1)
        parked = in_order({member: score for member, score in self.parked.items() if member.flow == flow})
        back = parked[: max(0, int(fit))]
        for member in back:
            self.ready[member] = self.parked.pop(member)
        self._wake(len(back))

    def enqueue(self, entries: Iterable[Entry], rebuild_id: str) -> list[bool] | None:
        """Add entries; None = stale."""
        if rebuild_id and rebuild_id != self.rebuilding:
            return None
        flags = [self._enter(entry) for entry in entries]
        self._wake(sum(flags))
        return flags

    def claim(self, token: str, lease_ms: int, n: int, promote_limit: int) -> Claim:
        """Promote, then take the first."""
        due = [member for member in in_order(self.delayed) if self.delayed[member] <= self.now_ms]
        for member in due[:promote_limit]:
            del self.delayed[member]
            self._to_ready(member)
        leases: tuple[Lease, ...] = ()
        unfinished = False
        if n > 0 and not self.paused:
            self._release_probes()
            self._age()
            leases, unfinished = self._take(token, lease_ms, n)
        return Claim(
            now_ms=self.now_ms,
            epoch=self.epoch,
            beat=self.beat,
            paused=self.paused,
            next_due_ms=self.now_ms if unfinished else self._next_due_ms(),
            leases=leases,
        )

    def _next_due_ms(self) -> int | None:
        moments = [*self.delayed.values(), *(until for until in self.held.values() if until > self.now_ms)]
        return int(min(moments)) if moments else None

    def _release_probes(self) -> None:
        over = sorted((until, flow) for flow, until in self.held.items() if 0 < until <= self.now_ms)
        for _, flow in over[: self.moves]:
            if self.waiting[flow] + self.running[flow] == 0:
                del self.held[flow]
            else:
                self.held[flow] = 0
                self._restore(flow)

    def _age(self) -> None:
        if self.now_ms - self.aged_at_ms < 1000:
            return
        self.aged_at_ms = self.now_ms
        for band in BANDS[1:]:
            heads = [m for m in in_order(self.ready) if band * BAND <= self.ready[m] < (band + 1) * BAND]
            if not heads:
                continue
            waited_ms = self.now_ms - self.id_epoch_ms - (heads[0].id >> 22)
            if waited_ms > self.aging_ms * (heads[0].priority - band + 1):
                self.ready[heads[0]] = (band - 1) * BAND + self.virtual_times.get(band - 1, 0.0)

    def _take(self, token: str, lease_ms: int, n: int) -> tuple[tuple[Lease, ...], bool]:
        leases: list[Lease] = []
        moved = 0
        reached: dict[int, float] = {}
        while len(leases) < n and moved < self.moves and self.ready:
            member = in_order(self.ready)[0]
            score = self.ready.pop(member)
            if self.held.get(member.flow, 0) > self.now_ms or self.room(member.flow) < 1:
                self.parked[member] = score
                moved += 1
                continue
            if member.flow in self.held:
                self.held[member.flow] = self.now_ms + lease_ms
            band = int(score // BAND)
            reached[band] = max(reached.get(band, 0.0), score - band * BAND)
            leases.append(self._lease(member, token, self.now_ms + lease_ms))
        for band, tag in reached.items():
            self._advance(band, tag)
        return tuple(leases), moved == self.moves and bool(self.ready)

    def _lease(self, member: Member, token: str, expires_at_ms: int) -> Lease:
        self.leased[member], self.owner[member] = expires_at_ms, token
        message = self.messages.get(member.id)
        return Lease(member=member, token=token, expires_at_ms=expires_at_ms, message=message)

    def _advance(self, band: int, tag: float) -> None:
        if tag > self.virtual_times.get(band, 0.0):
            self.virtual_times[band] = tag
            kept = {key: last for key, last in self.last_tags.items() if key[0] != band or last > tag}
            self.last_tags = kept

    def extend(self, lease_ms: int, pairs: Sequence[tuple[Member, str]]) -> list[bool]:
        """Prolong what is theirs."""
        flags = [self.owner.get(member) == token for member, token in pairs]
        for (member, _), mine in zip(pairs, flags, strict=True):
            if mine:
                self.leased[member] = self.now_ms + lease_ms
        return flags

    def settle(self, settlements: Iterable[Settlement]) -> list[bool]:
        """End what is theirs."""
        return [self._settle(one) for one in settlements]

    def _settle(self, one: Settlement) -> bool:
        if self.owner.get(one.member) != one.token:
            return False
        del self.leased[one.member], self.owner[one.member]
        self._restore(one.member.flow)
        if one.outcome is Outcome.ACK:
            self.messages.pop(one.member.id, None)
            self.served_cost += one.member.cost
        elif one.next_member is not None:
            entry = Entry(member=one.next_member, delay_ms=one.delay_ms, message=one.message)
            self._wake(self._enter(entry))
        return True

    def reap(self, token: str, limit: int, hold_ms: int) -> list[Member]:
        """Take over what has expired."""
        expired = [m for m in in_order(self.leased) if self.leased[m] <= self.now_ms][:limit]
        for member in expired:
            self.leased[member], self.owner[member] = self.now_ms + hold_ms, token
        return expired

    def cancel(self, members: Iterable[Member]) -> list[int]:
        """Take out what waits."""
        return [self._cancel(member) for member in members]

    def _cancel(self, member: Member) -> int:
        for place in (self.ready, self.delayed, self.parked):
            if place.pop(member, None) is not None:
                self.messages.pop(member.id, None)
                self._restore(member.flow)
                return 1
        return 2 if member in self.leased else 0

    def set_limits(self, limits: Iterable[FlowLimit]) -> None:
        """Write limits, hold and free."""
        for limit in limits:
            self.weights[limit.flow] = limit.weight
            self.max_running.pop(limit.flow, None)
            if limit.max_running is not None:
                self.max_running[limit.flow] = limit.max_running
            if limit.hold_ms == 0:
                self.held.pop(limit.flow, None)
            elif limit.hold_ms is not None:
                self.held[limit.flow] = self.now_ms + limit.hold_ms
                self._wake(1)
            self._restore(limit.flow)
