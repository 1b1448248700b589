"""Waiting for a task's end: told by an event, made good by reading the row again."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from contextlib import suppress
from typing import Self

from core.queue.events import EventKind, Events

RECHECK_SECONDS = 1.0


class Waiting:
    """Wakes those who wait for a task; one subscription for the whole process."""

    def __init__(self, events: Events) -> None:
        self._events = events
        self._waiters: dict[int, set[asyncio.Event]] = defaultdict(set)
        self._listener: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._listener = asyncio.create_task(self._listen(), name="waiting")
        return self

    async def __aexit__(self, *exc: object) -> None:
        if self._listener is not None:
            self._listener.cancel()
            with suppress(asyncio.CancelledError):
                await self._listener

    async def wait(self, task_id: int, seconds: float) -> None:
        """Return when the task may have ended, after a second at most, or after `seconds`."""
        woken = asyncio.Event()
        self._waiters[task_id].add(woken)
        try:
            async with asyncio.timeout(min(seconds, RECHECK_SECONDS)):
                await woken.wait()
        except TimeoutError:
            return
        finally:
            self._waiters[task_id].discard(woken)
            if not self._waiters[task_id]:
                del self._waiters[task_id]

    async def _listen(self) -> None:
        async with self._events.subscribe() as events:
            async for event in events:
                if event.kind is EventKind.ENDED:
                    for woken in self._waiters.get(event.id, ()):
                        woken.set()
