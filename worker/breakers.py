"""When a receiver's host is left alone for a while."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic

MAX_PAUSE_SECONDS = 600.0
FREED_AGAIN_SECONDS = 5.0


@dataclass(slots=True)
class _Host:
    """What this process has seen of a host."""

    in_a_row: int = 0
    pauses: int = 0
    paused_until: float = 0.0


class Breakers:
    """Counts failures in a row per flow; the pause itself is kept in the queue, for all workers."""

    def __init__(
        self, *, failures: int, first_pause_seconds: float, clock: Callable[[], float] = monotonic
    ) -> None:
        self._failures, self._first_pause_seconds = failures, first_pause_seconds
        self._clock = clock
        self._failing: dict[str, _Host] = {}
        self._freed_at: dict[str, float] = {}

    def failed(self, flow: str) -> float | None:
        """Count a failure; answers the pause in seconds when the host is to be left alone from now on.

        What was under way when the pause began says nothing new: only a later failure doubles it.
        """
        host = self._failing.setdefault(flow, _Host())
        self._freed_at.pop(flow, None)
        host.in_a_row += 1
        at = self._clock()
        if host.in_a_row < self._failures or at < host.paused_until:
            return None
        pause = min(MAX_PAUSE_SECONDS, self._first_pause_seconds * 2.0 ** min(host.pauses, 20))
        host.pauses += 1
        host.paused_until = at + pause
        return pause

    def succeeded(self, flow: str) -> bool:
        """Forget the failures; tells whether the flow is to be freed.

        Another worker may have paused it, and this success be its probe's: so it is freed by the first
        success after a while, too.
        """
        at = self._clock()
        host = self._failing.pop(flow, None)
        if (host is None or host.pauses == 0) and at - self._freed_at.get(flow, -1e9) < FREED_AGAIN_SECONDS:
            return False
        self._freed_at = {
            other: then for other, then in self._freed_at.items() if at - then < FREED_AGAIN_SECONDS
        }
        self._freed_at[flow] = at
        return True

    def is_paused(self, flow: str) -> bool:
        """Whether this process has paused the flow and it has not succeeded since."""
        host = self._failing.get(flow)
        return host is not None and host.pauses > 0
