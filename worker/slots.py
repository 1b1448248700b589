"""How many tasks a worker may hold at once, and whether it may take more now."""

from __future__ import annotations

import asyncio


class Slots:
    """Counts what is held; a closed gate lets nothing more in."""

    def __init__(self, count: int) -> None:
        self.count = count
        self._taken = 0
        self._open = True
        self._changed = asyncio.Condition()

    @property
    def taken(self) -> int:
        """How many are held."""
        return self._taken

    @property
    def free(self) -> int:
        """How many more may be taken now."""
        return self.count - self._taken if self._open else 0

    async def wait_free(self) -> int:
        """Wait until at least one may be taken; answers how many."""
        async with self._changed:
            await self._changed.wait_for(lambda: self.free > 0)
            return self.free

    async def wait_idle(self) -> None:
        """Wait until none is held."""
        async with self._changed:
            await self._changed.wait_for(lambda: self._taken == 0)

    def take(self) -> None:
        """Hold one more; whoever calls has seen that it is free."""
        self._taken += 1

    async def give_back(self) -> None:
        """Hold one less."""
        async with self._changed:
            self._taken -= 1
            self._changed.notify_all()

    async def set_gate(self, *, is_open: bool) -> None:
        """Let more in, or no more."""
        async with self._changed:
            self._open = is_open
            self._changed.notify_all()
