"""The watch over a server that may hang: whom it gives up, whom it lets be."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass, field

import pytest

from core.errors import DatabaseUnavailable
from core.watch import ANSWER_SECONDS, LATE_SECONDS, Limit, Watch
from tests.support.worker_bench import until


@dataclass
class Server:
    """A server as the watch sees it."""

    is_alive: bool = True
    is_hanging: bool = False
    asked: int = 0
    came: asyncio.Event = field(default_factory=asyncio.Event)

    async def answers(self) -> bool:
        self.asked += 1
        self.came.set()
        if self.is_hanging:
            await asyncio.Event().wait()
        return self.is_alive


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.fixture
async def watch(server: Server) -> AsyncIterator[Watch]:
    opened = Watch("server", server.answers, DatabaseUnavailable)
    yield opened
    await opened.close()


async def _asked_within(server: Server, seconds: float) -> bool:
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await server.came.wait()
    return server.came.is_set()


async def test_what_is_quick_asks_nobody(watch: Watch, server: Server) -> None:
    for _ in range(3):
        async with Limit(5, watch):
            await asyncio.sleep(0)
    assert await _asked_within(server, LATE_SECONDS * 1.2) is False


async def test_what_is_slow_goes_on_while_the_server_answers(watch: Watch, server: Server) -> None:
    async with Limit(5, watch):
        assert await _asked_within(server, 2 * LATE_SECONDS)
    assert (server.asked, watch.is_silent) == (1, False)


async def test_a_silent_server_ends_all_and_refuses_the_next_until_it_answers(
    watch: Watch, server: Server
) -> None:
    server.is_hanging = True
    begun = asyncio.get_running_loop().time()

    async def one() -> None:
        async with Limit(60, watch):
            await asyncio.Event().wait()

    async def is_silent() -> bool:
        return watch.is_silent

    found = await asyncio.gather(one(), one(), return_exceptions=True)
    assert [type(each) for each in found] == [TimeoutError, TimeoutError]
    assert asyncio.get_running_loop().time() - begun < LATE_SECONDS + ANSWER_SECONDS + 0.3
    with pytest.raises(DatabaseUnavailable):
        async with Limit(60, watch):
            raise AssertionError("it must not come here")
    server.is_hanging = False
    await until(is_silent, lambda silent: not silent, limit_seconds=3)
    async with Limit(1, watch):
        await asyncio.sleep(0)


async def test_whoever_waits_for_a_good_bye_is_asked_again(watch: Watch) -> None:
    stubborn = 0

    async def leave_slowly() -> None:
        nonlocal stubborn
        for _ in range(2):
            try:
                await asyncio.sleep(30)
            except asyncio.CancelledError:
                stubborn += 1
        await asyncio.sleep(30)

    with pytest.raises(TimeoutError):
        async with Limit(0.01, watch):
            await leave_slowly()
    assert stubborn == 2
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


async def test_a_cancellation_from_outside_stays_one(watch: Watch) -> None:
    begun = asyncio.Event()

    async def hold() -> None:
        async with Limit(60, watch):
            begun.set()
            await asyncio.Event().wait()

    holding = asyncio.create_task(hold())
    await begun.wait()
    holding.cancel()
    await asyncio.wait({holding})
    assert holding.cancelled()


async def test_an_error_inside_is_not_taken_for_a_time_out(watch: Watch) -> None:
    with pytest.raises(KeyError):
        async with Limit(60, watch):
            raise KeyError
