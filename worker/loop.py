"""The machinery of every duty that runs again and again: interval, jitter, log and go on, stop."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable

import structlog

from core.errors import LeaseLost, Unavailable

log = structlog.get_logger()

JITTER = 0.3
_BACKOFF_BASE_SECONDS, _BACKOFF_CAP_SECONDS = 0.1, 2.0
_BACKOFF_LEAST_SECONDS = 0.01
"""Full jitter, but no step follows a failed one at once."""


class Loop:
    """Runs `step` until told to stop; a step that fails is logged and tried again, later each time.

    An interval of 0 is for steps that wait by themselves, for a wake-up or a free slot.
    """

    def __init__(
        self,
        name: str,
        step: Callable[[], Awaitable[object]],
        *,
        every_seconds: float = 0.0,
        draw: Callable[[float, float], float] = random.uniform,
    ) -> None:
        self.name, self._step, self._every_seconds, self._draw = name, step, every_seconds, draw
        self._stopping = asyncio.Event()
        self._failures = 0

    def stop(self) -> None:
        """Let the current step end and start no other."""
        self._stopping.set()

    async def run(self) -> None:
        """Run until `stop`."""
        while not self._stopping.is_set():
            await self._try_once()
            wait_seconds = self._wait_seconds()
            if wait_seconds > 0:
                await self._pause(wait_seconds)

    async def _try_once(self) -> None:
        try:
            await self._step()
            self._failures = 0
        except (Unavailable, LeaseLost) as error:
            self._failures += 1
            log.warning("loop.interrupted", loop=self.name, code=error.code, failures=self._failures)
        except Exception:
            self._failures += 1
            log.exception("loop.failed", loop=self.name, failures=self._failures)

    def _wait_seconds(self) -> float:
        every_seconds = self._every_seconds * self._draw(1 - JITTER, 1 + JITTER)
        if not self._failures:
            return every_seconds
        ceiling = min(_BACKOFF_CAP_SECONDS, _BACKOFF_BASE_SECONDS * 2.0 ** min(self._failures, 10))
        backoff_seconds = self._draw(_BACKOFF_LEAST_SECONDS, ceiling)
        # A heartbeat that failed is due again before the next would be.
        return min(every_seconds, backoff_seconds) if every_seconds else backoff_seconds

    async def _pause(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._stopping.wait()
        except TimeoutError:
            return
