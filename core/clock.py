"""Time: the process's own clock, never compared with a server's, and the server's, carried on here."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from time import monotonic


def utc_now() -> datetime:
    """The current time as an aware UTC datetime."""
    return datetime.now(UTC)


class ServerClock:
    """The database server's time, for what leaves a worker: its own clock may jump or be wrong.

    Between two readings the time passes as this process's monotonic clock does.
    """

    def __init__(self, *, monotonic: Callable[[], float] = monotonic) -> None:
        self._monotonic = monotonic
        self._read: tuple[datetime, float] | None = None

    def set(self, at: datetime) -> None:
        """Note what the server has just said."""
        self._read = (at, self._monotonic())

    def now(self) -> datetime:
        """The server's time as an aware UTC datetime; until it was read, the process's own."""
        if self._read is None:
            return utc_now()
        at, read_at = self._read
        return at + timedelta(seconds=self._monotonic() - read_at)
