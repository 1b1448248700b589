"""Waiting for a task's end: told by an event, made good by reading the row again."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Self

from core.queue.events import EventKind, Events

RECHECK_SECONDS = 1.0
_ASK_AGAIN_SECONDS = 0.05


class Watch:
    """One who waits."""

    def __init__(self) -> None:
        self._told = asyncio.Event()

    def tell(self) -> None:
        """Wake it."""
        self._told.set()

    async def wait(self, seconds: float) -> None:
        """Return when the task may have ended, after a second at most, or after `seconds`."""
        with suppress(TimeoutError):
            async with asyncio.timeout(min(seconds, RECHECK_SECONDS)):
                await self._told.wait()
        self._told.clear()


class Waiting:
    """Wakes those who wait for a task; one subscription for the whole process."""

    def __init__(self, events: Events) -> None:
        self._events = events
        self._watches: dict[int, set[Watch]] = defaultdict(set)
        self.is_over = False
        """Whether this process is about to end: nobody is held any more."""
        self._listener: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._listener = asyncio.create_task(self._listen(), name="waiting")
        return self

    async def __aexit__(self, *exc: object) -> None:
        listener = self._listener
        # Python 3.11 loses a cancellation that meets the end of a write (asyncio.wait_for), so ask again.
        while listener is not None and not listener.done():
            listener.cancel()
            await asyncio.wait({listener}, timeout=_ASK_AGAIN_SECONDS)

    @contextmanager
    def watch(self, task_id: int) -> Iterator[Watch]:
        """Note the events of a task from now on: what is read after this and has not ended will be told."""
        watch = Watch()
        self._watches[task_id].add(watch)
        try:
            yield watch
        finally:
            self._watches[task_id].discard(watch)
            if not self._watches[task_id]:
                del self._watches[task_id]

    def let_go(self) -> None:
        """Hold nobody any more, and send those away who wait: this process is about to end."""
        self.is_over = True
        for watches in self._watches.values():
            for watch in watches:
                watch.tell()

    async def _listen(self) -> None:
        async with self._events.subscribe() as events:
            async for event in events:
                if event.kind is EventKind.ENDED:
                    for watch in self._watches.get(event.id, ()):
                        watch.tell()
