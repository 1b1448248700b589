"""Which faults strike when: a plan made from a seed alone, so that a run can be told again."""

from __future__ import annotations

import random
from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum
from itertools import cycle


class FaultKind(StrEnum):
    """What is done to an installation."""

    WORKER_KILL = "worker killed (-9)"
    WEB_KILL = "web process killed (-9)"
    VALKEY_KILL = "Valkey killed (-9)"
    DATABASE_KILL = "database killed (-9)"
    FLUSH = "FLUSHALL"
    ZOMBIE = "worker frozen past its lease"
    WEB_FREEZE = "web process frozen"
    VALKEY_FREEZE = "Valkey frozen"
    DATABASE_FREEZE = "database frozen"
    RECEIVER_DOWN = "callback receiver down"
    LINK = "connections disturbed"


class Link(StrEnum):
    """Between whom connections are disturbed."""

    REDIS = "redis"
    DATABASE = "database"
    WEB = "web"
    CALLBACK = "callback"
    PICTURE = "picture"


class Weather(StrEnum):
    """How connections are disturbed."""

    LATENCY = "latency"
    BANDWIDTH = "bandwidth"
    SILENCE = "silence"
    HALF_OPEN = "half-open"
    RESET = "reset"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One fault. `chance` in [0, 1) picks the victim; `seconds` is how long it lasts."""

    kind: FaultKind
    chance: float
    seconds: float
    link: Link | None = None
    weather: Weather | None = None


# How many of each in a run of 65 faults; every run has at least one of each.
_SHARES = {
    FaultKind.WORKER_KILL: 26,
    FaultKind.WEB_KILL: 10,
    FaultKind.LINK: 9,
    FaultKind.ZOMBIE: 6,
    FaultKind.VALKEY_KILL: 3,
    FaultKind.FLUSH: 3,
    FaultKind.RECEIVER_DOWN: 3,
    FaultKind.DATABASE_KILL: 2,
    FaultKind.WEB_FREEZE: 1,
    FaultKind.VALKEY_FREEZE: 1,
    FaultKind.DATABASE_FREEZE: 1,
}
_SECONDS = {
    FaultKind.VALKEY_KILL: (0.1, 1.5),
    FaultKind.DATABASE_KILL: (0.1, 1.5),
    FaultKind.WEB_FREEZE: (2.0, 6.0),
    FaultKind.VALKEY_FREEZE: (1.0, 4.0),
    FaultKind.DATABASE_FREEZE: (1.0, 4.0),
    FaultKind.RECEIVER_DOWN: (2.0, 5.0),
    FaultKind.LINK: (1.0, 4.0),
}
_OF_A_SERVER = (FaultKind.DATABASE_KILL, FaultKind.DATABASE_FREEZE)
_ZOMBIE_LEASES = (1.2, 1.8)


def make_plan(
    seed: int,
    *,
    seconds: float,
    every_seconds: float,
    lease_seconds: float,
    has_server: bool,
    only: Collection[FaultKind] = (),
) -> list[Fault]:
    """Make the faults of a run, of some kinds only if wished; without a server none of the database."""
    dice = random.Random(seed)
    allowed = [kind for kind in only or FaultKind if has_server or kind not in _OF_A_SERVER]
    wanted = max(1, int(seconds / every_seconds))
    kinds = _kinds(wanted, allowed)
    dice.shuffle(kinds)
    pairs = [
        (link, weather) for weather in Weather for link in Link if has_server or link is not Link.DATABASE
    ]
    dice.shuffle(pairs)
    disturbed = cycle(pairs)
    plan = []
    for kind in kinds[:wanted]:
        low, high = _SECONDS.get(kind, (0.0, 0.0))
        if kind is FaultKind.ZOMBIE:
            low, high = (leases * lease_seconds for leases in _ZOMBIE_LEASES)
        link, weather = next(disturbed) if kind is FaultKind.LINK else (None, None)
        plan.append(
            Fault(
                kind=kind,
                chance=dice.random(),
                seconds=dice.uniform(low, high),
                link=link,
                weather=weather,
            )
        )
    return plan


def _kinds(count: int, allowed: list[FaultKind]) -> list[FaultKind]:
    scale = count / sum(_SHARES[kind] for kind in allowed)
    counts = {kind: max(1, int(_SHARES[kind] * scale)) for kind in allowed}
    kinds = [kind for kind, many in counts.items() for _ in range(many)]
    # What rounding left over, or took too much, is made good by the most frequent.
    most = max(allowed, key=lambda kind: _SHARES[kind])
    while len(kinds) > count and kinds.count(most) > 1:
        kinds.remove(most)
    return kinds + [most] * (count - len(kinds))
