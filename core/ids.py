"""Snowflake ids: 41 bits of milliseconds, 10 bits of instance, 12 bits of sequence.

An instance number is leased from a store that promises times: a holder makes ids only below the
time it has reserved, and the next holder starts above it. So neither a slow clock nor a frozen
process that wakes up can make an id twice.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

EPOCH_MS = 1_704_067_200_000
"""2024-01-01T00:00:00Z."""
MAX_INSTANCE = 1023
_INSTANCE_BITS, _SEQUENCE_BITS = 10, 12
_PER_MS = 1 << _SEQUENCE_BITS
_RESERVE_MS = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Reservation:
    """The right to make ids under `instance` for times in `[from_ms, until_ms)`, Unix milliseconds."""

    instance: int
    holder: str
    from_ms: int
    until_ms: int


class Reservations(Protocol):
    """Where instance numbers and times are promised; each call is committed before it returns."""

    async def acquire(self, span_ms: int) -> Reservation:
        """Lease a number that nobody uses, from above all times promised under it."""

    async def extend(self, reservation: Reservation, until_ms: int) -> Reservation | None:
        """Promise more time to the holder; None when the number has another holder now."""


def wall_clock_ms() -> int:
    """This process's clock in Unix milliseconds."""
    return time.time_ns() // 1_000_000


def created_ms(snowflake: int) -> int:
    """The time part of an id in Unix milliseconds."""
    return (snowflake >> (_INSTANCE_BITS + _SEQUENCE_BITS)) + EPOCH_MS


def first_id_at(at: datetime) -> int:
    """No id made before `at` is larger."""
    return (int(at.timestamp() * 1000) - EPOCH_MS) << (_INSTANCE_BITS + _SEQUENCE_BITS)


class Ids:
    """Makes ids for one process; each is larger than the one before."""

    def __init__(self, reservations: Reservations, *, clock_ms: Callable[[], int] = wall_clock_ms) -> None:
        self._reservations = reservations
        self._clock_ms = clock_ms
        self._held: Reservation | None = None
        self._next_tick = 0
        self._lock = asyncio.Lock()

    async def take(self, count: int = 1) -> list[int]:
        """Make `count` ids; raises what the store raises when time must be reserved and cannot be."""
        async with self._lock:
            wanted = max(self._next_tick, self._tick(self._clock_ms()))
            held, first = await self._reserve(wanted, count)
            self._next_tick = first + count
        return [self._compose(tick, held.instance) for tick in range(first, first + count)]

    async def _reserve(self, wanted: int, count: int) -> tuple[Reservation, int]:
        """See that `count` ticks are ours, from `wanted` on or from where the reservation begins."""
        span_ms = count // _PER_MS + 1 + _RESERVE_MS
        while True:
            held = self._held or await self._reservations.acquire(span_ms)
            first = max(wanted, self._tick(held.from_ms))
            if first + count > self._tick(held.until_ms):
                # Another process may hold the number by now; ours is then forgotten and another taken.
                extended = await self._reservations.extend(held, first // _PER_MS + EPOCH_MS + span_ms)
                self._held = extended
                continue
            self._held = held
            return held, first

    @staticmethod
    def _tick(at_ms: int) -> int:
        """Time and sequence as one number that counts up."""
        return (at_ms - EPOCH_MS) * _PER_MS

    @staticmethod
    def _compose(tick: int, instance: int) -> int:
        at_ms, sequence = divmod(tick, _PER_MS)
        return (at_ms << _INSTANCE_BITS | instance) << _SEQUENCE_BITS | sequence
