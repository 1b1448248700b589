"""Who this worker is: a boot id, new whenever its row was closed, and whether its heart beats steadily."""

from __future__ import annotations

import os
import socket
import uuid
from collections.abc import Callable
from time import monotonic

from core import __version__
from core.errors import DatabaseUnavailable
from core.store.workers import Worker


class Identity:
    """The worker's row, and how long its heartbeats have succeeded without a gap."""

    def __init__(
        self,
        *,
        models: tuple[str, ...],
        slots: int,
        lease_seconds: float,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._models, self._slots, self._clock = models, slots, clock
        self.lease_seconds = lease_seconds
        self.boot_id = uuid.uuid4().hex
        self._claims = 0
        self._steady_since: float | None = None
        self._last_beat: float | None = None

    def row(self) -> Worker:
        """The row to register."""
        return Worker(
            id=self.boot_id,
            host=socket.gethostname(),
            pid=os.getpid(),
            version=__version__,
            models=self._models,
            slots=self._slots,
        )

    def renew(self) -> None:
        """Take a new boot id: the old row is closed, nothing starts under it any more."""
        self.boot_id = uuid.uuid4().hex
        self._steady_since = self._last_beat = None

    def next_token(self) -> str:
        """A claim token that no other claim ever had."""
        self._claims += 1
        return f"{self.boot_id}.{self._claims}"

    def beat(self) -> None:
        """Note a heartbeat that succeeded; a gap of more than two beats starts the count anew."""
        at = self._clock()
        if self._last_beat is None or at - self._last_beat > self.lease_seconds * 2 / 3:
            self._steady_since = at
        self._last_beat = at

    @property
    def is_fresh(self) -> bool:
        """Whether the last heartbeat is recent: the database can be reached, the row's lease runs."""
        return self._last_beat is not None and self._clock() - self._last_beat <= self.lease_seconds * 2 / 3

    @property
    def is_steady(self) -> bool:
        """Whether heartbeats ran without a gap for a whole lease; only then others may be declared dead."""
        if self._steady_since is None or not self.is_fresh:
            return False
        return self._clock() - self._steady_since >= self.lease_seconds

    def refuse_unless_fresh(self) -> None:
        """Raise DatabaseUnavailable when heartbeats fail: what cannot be started is for others to claim."""
        if not self.is_fresh:
            raise DatabaseUnavailable("The heartbeats of this worker fail; it starts nothing new.")
