"""What goes into the queue's transitions and what comes out: values only."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum, StrEnum

from core.domain.routing import Member


class Outcome(StrEnum):
    """How a lease ends: for good, with a next attempt, or given back unused."""

    ACK = "ack"
    RETRY = "retry"
    RELEASE = "release"


class CancelOutcome(IntEnum):
    """Where a cancelled entry was; a leased one stays with its owner."""

    ABSENT = 0
    WAITING = 1
    LEASED = 2


class Place(StrEnum):
    """The four places an entry can be in; it is in exactly one of them."""

    READY = "ready"
    DELAYED = "delayed"
    LEASED = "leased"
    PARKED = "parked"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """Something to put in the queue; a message above the size limit is left out."""

    member: Member
    delay_ms: int = 0
    message: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """The right to work on an entry until `expires_at_ms` of the server's clock."""

    member: Member
    token: str
    expires_at_ms: int
    message: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """What a claim answered; without an epoch the plan is not whole and must be rebuilt."""

    now_ms: int
    epoch: str
    beat: int
    paused: bool
    next_due_ms: int | None
    """When claiming again can bring something without a wake-up; None = not foreseeable."""
    leases: tuple[Lease, ...] = ()

    @property
    def next_due_seconds(self) -> float | None:
        """Seconds from this claim to `next_due_ms`, never negative."""
        return None if self.next_due_ms is None else max(0.0, (self.next_due_ms - self.now_ms) / 1000)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settlement:
    """The end of one lease; `next_member` is what retry and release put in."""

    member: Member
    token: str
    outcome: Outcome
    next_member: Member | None = None
    delay_ms: int = 0
    message: str | None = None

    def __post_init__(self) -> None:
        if (self.outcome is Outcome.ACK) != (self.next_member is None):
            raise ValueError("retry and release need a next_member, ack has none")


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """How far off an entry's time, or the end of its lease, may be; beyond it comes `then_ms` from now."""

    member: Member
    at_most_ms: int
    then_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowLimit:
    """A flow's share and bounds; `hold_ms` None leaves a hold as it is, 0 frees the flow."""

    flow: str
    weight: float = 1
    max_running: int | None = None
    hold_ms: int | None = None

    def __post_init__(self) -> None:
        if not self.flow or self.weight <= 0:
            raise ValueError("a flow needs a name and a weight above 0")
        if (self.max_running or 0) < 0 or (self.hold_ms or 0) < 0:
            raise ValueError("max_running and hold_ms cannot be negative")


class Loss(StrEnum):
    """How a plan can have been lost."""

    EMPTIED = "emptied"
    """No epoch: Redis was emptied, or a rebuild has not ended."""
    MOVED = "moved"
    """Another server, or the same one started again: it may have missed what came last."""
    ROLLED_BACK = "rolled_back"
    """The count of beats went back on the same server."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Beat:
    """A heartbeat's answer, and what it says about the plan."""

    epoch: str
    beat: int
    paused: bool
    run_id: str
    """Of the running server; empty where it does not tell."""
    rebuilt_on: str = ""
    """The run_id of the server that the plan was put together on."""

    def loss(self, last: Beat | None) -> Loss | None:
        """What has been lost since the plan was put together, as far as this beat and the last one tell."""
        if not self.epoch:
            return Loss.EMPTIED
        if self.run_id and self.rebuilt_on != self.run_id:
            return Loss.MOVED
        if last is not None and self.beat <= last.beat and self.epoch == last.epoch:
            return Loss.ROLLED_BACK
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """Where an entry stands; all false and no rank = it is not in the queue."""

    rank: int | None = None
    """1 = served next; only ready entries have one."""
    limited: bool = False
    """Its flow runs as many as it may, or is held."""
    delayed: bool = False
    leased: bool = False
    eta_seconds: float | None = None
    """At the measured rate of service; None until there is one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowStats:
    """One flow's counts; `waiting` is ready, delayed and parked together."""

    waiting: int = 0
    running: int = 0
    held_until_ms: int | None = None
    """0 while its probe is in ready or awaited; None = not held."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueStats:
    """How deep the queue is, from one moment of the server."""

    now_ms: int
    ready: int
    delayed: int
    leased: int
    parked: int
    overdue: int
    """Delayed entries that are due and not yet promoted."""
    expired: int
    """Leases that are over and not yet reaped."""
    paused: bool
    epoch: str
    beat: int
    served_cost: int
    ended_per_second: float | None
    cost_per_second: float | None
    counters: dict[str, int] = field(default_factory=dict)
    flows: dict[str, FlowStats] = field(default_factory=dict)

    @property
    def waiting(self) -> int:
        """Everything that is not leased."""
        return self.ready + self.delayed + self.parked
