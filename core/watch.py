"""Notices a server that hangs, so that nobody waits for an answer that will not come.

A server that is gone refuses connections and so says it at once. One that hangs (a process that stands
still, a network that drops packets) says nothing, and looks like one that is busy with much work. So
when something takes long, the server is asked for a sign of life; when none comes, all that is under
way is given up and all that is new refused, until it answers again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from types import TracebackType
from typing import Self

import structlog

log = structlog.get_logger()

LATE_SECONDS = 0.6
"""Something that takes this long makes us ask."""
ANSWER_SECONDS = 0.9
"""Time for a sign of life; with the above it makes an answer within two seconds."""
_ASK_AGAIN_SECONDS = 0.25
_KICK_AGAIN_SECONDS = 0.2


class Watch:
    """Watches over all that one process asks of one server.

    Args:
        server: Its name for the log.
        answers: Asks it for a sign of life on a connection of its own; keeps no time limit.
        refusal: What is raised while it gives none.
    """

    def __init__(
        self, server: str, answers: Callable[[], Awaitable[bool]], refusal: Callable[[], Exception]
    ) -> None:
        self._server, self._answers, self._refusal = server, answers, refusal
        self._running: set[Limit] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._asking: asyncio.Task[None] | None = None
        self.is_silent = False
        """Whether the server was asked for a sign of life and gave none."""

    def enter(self, limit: Limit) -> None:
        """Note that something begins; raises the refusal while the server is silent."""
        if self.is_silent:
            raise self._refusal()
        self._running.add(limit)
        if self._timer is None and self._asking is None:
            self._look_in(LATE_SECONDS)

    def leave(self, limit: Limit) -> None:
        """Note that it has ended."""
        self._running.discard(limit)

    async def close(self) -> None:
        """Watch no more."""
        if self._timer is not None:
            self._timer.cancel()
        if self._asking is not None:
            self._asking.cancel()
            await asyncio.wait({self._asking})

    def _look_in(self, seconds: float) -> None:
        self._timer = asyncio.get_running_loop().call_later(seconds, self._look)

    def _look(self) -> None:
        """Ask when the oldest of what is under way is late; look again when it would be."""
        self._timer = None
        if not self._running:
            return
        age_seconds = asyncio.get_running_loop().time() - min(limit.began_at for limit in self._running)
        if age_seconds < LATE_SECONDS:
            self._look_in(LATE_SECONDS - age_seconds)
        else:
            self._asking = asyncio.create_task(self._ask(), name=f"{self._server}-watch")

    async def _ask(self) -> None:
        """Ask until there is an answer."""
        try:
            while not await self._answers_in_time():
                if not self.is_silent:
                    log.warning("server.silent", server=self._server, given_up=len(self._running))
                self.is_silent = True
                for limit in tuple(self._running):
                    limit.expire()
                await asyncio.sleep(_ASK_AGAIN_SECONDS)
            if self.is_silent:
                log.info("server.answered", server=self._server)
            self.is_silent = False
        finally:
            self._asking = None
        if self._running:
            self._look_in(LATE_SECONDS)

    async def _answers_in_time(self) -> bool:
        with suppress(TimeoutError):
            async with Limit(ANSWER_SECONDS):
                return await self._answers()
        return False


class Limit:
    """A time limit like `asyncio.timeout`, that also ends when the watch says so; raises TimeoutError.

    It cancels again and again until its block has ended: drivers that are cancelled say good-bye to the
    server first, and would wait long for one that is silent.
    """

    def __init__(self, seconds: float, watch: Watch | None = None) -> None:
        self._seconds, self._watch = seconds, watch
        self._kicks = 0
        self._has_ended = False

    async def __aenter__(self) -> Self:
        task, loop = asyncio.current_task(), asyncio.get_running_loop()
        if task is None:
            raise RuntimeError("a limit needs a task")
        self._task, self._loop, self.began_at = task, loop, loop.time()
        self._cancelled_before = task.cancelling()
        if self._watch is not None:
            self._watch.enter(self)
        self._timer = loop.call_later(self._seconds, self.expire)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._has_ended = True
        self._timer.cancel()
        if self._watch is not None:
            self._watch.leave(self)
        for _ in range(self._kicks):
            self._task.uncancel()
        is_ours = self._kicks > 0 and self._task.cancelling() <= self._cancelled_before
        if is_ours and isinstance(error, asyncio.CancelledError):
            raise TimeoutError from error

    def expire(self) -> None:
        """End the block now."""
        if self._has_ended:
            return
        self._timer.cancel()
        self._kicks += 1
        self._task.cancel()
        self._timer = self._loop.call_later(_KICK_AGAIN_SECONDS, self.expire)
