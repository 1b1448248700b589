"""When a receiver's host is left alone for a while."""

from __future__ import annotations

from collections import defaultdict

MAX_PAUSE_SECONDS = 600.0


class Breakers:
    """Counts failures in a row per flow; the pause itself is kept in the queue, for all workers."""

    def __init__(self, *, failures: int, first_pause_seconds: float) -> None:
        self._failures, self._first_pause_seconds = failures, first_pause_seconds
        self._in_a_row: dict[str, int] = defaultdict(int)

    def failed(self, flow: str) -> float | None:
        """Count a failure; answers the pause in seconds when the host is to be left alone."""
        self._in_a_row[flow] += 1
        beyond = self._in_a_row[flow] - self._failures
        if beyond < 0:
            return None
        return min(MAX_PAUSE_SECONDS, self._first_pause_seconds * 2.0 ** min(beyond, 20))

    def succeeded(self, flow: str) -> bool:
        """Forget the failures; tells whether the host had been left alone."""
        return self._in_a_row.pop(flow, 0) >= self._failures
