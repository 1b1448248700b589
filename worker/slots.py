"""How many tasks a worker may hold at once, and whether it may take more now."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from time import monotonic

from core.errors import Unavailable

JAMMED_SECONDS = 660.0
"""No attempt may take so long: the longest time limit of a task and a minute to record it."""


class Slots:
    """Counts what is held; a closed gate lets nothing more in.

    A slot is taken before the queue is asked, so that a claim under way counts as held too.
    """

    def __init__(
        self, count: int, *, at_work: int | None = None, clock: Callable[[], float] = monotonic
    ) -> None:
        """Give room for `count`, of which `at_work` are worked on at any moment; None = all of them."""
        self.count = count
        self._at_work = count if at_work is None else at_work
        self.batch = max(1, (count - self._at_work) // 2)
        """How many may be claimed, or end, together while enough are left to work on."""
        self._taken = 0
        self._at_once = count
        self._clock = clock
        self._moved_at = clock()
        self._is_open = True
        self.is_over = False
        """Closed for good."""
        self._changed = asyncio.Event()

    @property
    def taken(self) -> int:
        """How many are held."""
        return self._taken

    @property
    def free(self) -> int:
        """How many more may be taken now."""
        return max(0, self.count - self._taken) if self._is_open and not self.is_over else 0

    @property
    def spare(self) -> int:
        """How many of those held could wait without leaving anybody idle; at most a batch, at least one."""
        return 1 if self.is_over else max(1, min(self.batch, self._taken - self._at_work))

    async def wait_for_batch(self, limit_seconds: float) -> None:
        """Wait until a batch is free, but not for long."""
        with suppress(TimeoutError):
            async with asyncio.timeout(limit_seconds):
                while self.free < self.batch:
                    await self._changed.wait()

    async def take_free(self) -> int:
        """Wait until at least one is free, then take what may be taken at once; answers how many."""
        while self.free == 0:
            await self._changed.wait()
        return self.take_at_once()

    def take_at_once(self) -> int:
        """Take what is free, as many as may be taken at once; answers how many, perhaps none."""
        count = min(self.free, self._at_once)
        self._taken += count
        self._moved_at = self._clock()
        return count

    @contextmanager
    def paced(self) -> Iterator[None]:
        """Take one next time when what is done inside finds something away, twice as many each time it works.

        Whatever comes back after an outage is not asked for everything at once by everybody.
        """
        try:
            yield
        except Unavailable:
            self._at_once = 1
            raise
        self._at_once = min(self.count, 2 * self._at_once)

    @property
    def is_jammed(self) -> bool:
        """Whether nothing was taken or given back for longer than any attempt may take."""
        return self._taken > 0 and self._clock() - self._moved_at > JAMMED_SECONDS

    def take_one(self) -> None:
        """Take one whatever the gate says: for whoever has closed it."""
        self._taken += 1

    def give_back(self, count: int = 1) -> None:
        """Hold so many less."""
        self._taken -= count
        self._moved_at = self._clock()
        self._tell()

    async def wait_idle(self) -> None:
        """Wait until none is held."""
        while self._taken > 0:
            await self._changed.wait()

    def set_gate(self, *, is_open: bool) -> None:
        """Let more in, or no more for now."""
        self._is_open = is_open
        self._tell()

    def close(self) -> None:
        """Let nothing more in, whatever the gate says later."""
        self.is_over = True
        self._tell()

    def _tell(self) -> None:
        """Wake everybody who waits; each looks for itself."""
        self._changed.set()
        self._changed = asyncio.Event()
