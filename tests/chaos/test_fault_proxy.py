"""The proxy does to connections what it says, and nothing in fair weather."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress

import pytest

from tests.chaos.fault_proxy import FaultProxy, Opened, to_port
from tests.chaos.faults import Weather
from tests.support.private_server import free_port

Connect = Callable[[], Awaitable[Opened]]
_LIMIT_SECONDS = 10
_UNANSWERED_SECONDS = 0.3


async def _echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while chunk := await reader.read(65536):
            writer.write(chunk)
            await writer.drain()
    except ConnectionError:
        return
    finally:
        writer.close()


@pytest.fixture
async def proxy() -> AsyncIterator[FaultProxy]:
    """Stand before a server that gives back what it gets."""
    server = await asyncio.start_server(_echo, "127.0.0.1", 0)
    async with server, FaultProxy(to_port(server.sockets[0].getsockname()[1])) as opened:
        yield opened


@pytest.fixture
async def connect(proxy: FaultProxy) -> AsyncIterator[Connect]:
    """Open connections that have been answered once; they are closed at the end."""
    opened: list[Opened] = []

    async def open_one() -> Opened:
        opened.append(await asyncio.open_connection("127.0.0.1", proxy.port))
        await _ask(opened[-1], b"hello")
        return opened[-1]

    yield open_one
    for _, writer in opened:
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()


async def _ask(connection: Opened, said: bytes) -> float:
    """Say something and wait until it has come back; gives the seconds it took."""
    reader, writer = connection
    begun = asyncio.get_running_loop().time()
    writer.write(said)
    async with asyncio.timeout(_LIMIT_SECONDS):
        assert await reader.readexactly(len(said)) == said
    return asyncio.get_running_loop().time() - begun


async def _is_answered(connection: Opened, said: bytes) -> bool:
    reader, writer = connection
    writer.write(said)
    try:
        async with asyncio.timeout(_UNANSWERED_SECONDS):
            await reader.readexactly(len(said))
    except TimeoutError:
        return False
    return True


async def test_a_megabyte_passes_unchanged_in_fair_weather(connect: Connect) -> None:
    await _ask(await connect(), bytes(range(256)) * 4096)


async def test_the_end_of_one_side_reaches_the_other(connect: Connect) -> None:
    reader, writer = await connect()
    writer.write_eof()
    async with asyncio.timeout(_LIMIT_SECONDS):
        assert await reader.read() == b""


async def test_latency_delays_both_ways_until_it_is_calm(proxy: FaultProxy, connect: Connect) -> None:
    connection = await connect()
    proxy.disturb(Weather.LATENCY)
    assert await _ask(connection, b"slow") >= 0.3
    proxy.calm()
    assert await _ask(connection, b"fast") < 0.3


async def test_little_bandwidth_makes_much_take_long(proxy: FaultProxy, connect: Connect) -> None:
    connection = await connect()
    proxy.disturb(Weather.BANDWIDTH)
    assert await _ask(connection, b"x" * 4000) >= 0.4


async def test_what_was_held_back_in_silence_goes_on_when_it_is_calm(
    proxy: FaultProxy, connect: Connect
) -> None:
    reader, _ = connection = await connect()
    proxy.disturb(Weather.SILENCE)
    assert not await _is_answered(connection, b"lost?")
    proxy.calm()
    async with asyncio.timeout(_LIMIT_SECONDS):
        assert await reader.readexactly(5) == b"lost?"


async def test_a_reset_ends_what_is_open_and_lets_new_ones_in(proxy: FaultProxy, connect: Connect) -> None:
    reader, _ = await connect()
    proxy.disturb(Weather.RESET)
    with pytest.raises(ConnectionError):
        async with asyncio.timeout(_LIMIT_SECONDS):
            await reader.read()
    await connect()


async def test_the_end_of_a_half_open_connection_that_is_left_is_never_answered(
    proxy: FaultProxy, connect: Connect
) -> None:
    connection = await connect()
    proxy.disturb(Weather.HALF_OPEN)
    assert not await _is_answered(connection, b"anybody?")
    proxy.calm()
    assert not await _is_answered(connection, b"there?")
    assert not connection[0].at_eof()
    await connect()


async def test_a_server_that_is_away_is_a_reset() -> None:
    async with FaultProxy(to_port(free_port())) as proxy:
        reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
        with pytest.raises(ConnectionError):
            async with asyncio.timeout(_LIMIT_SECONDS):
                await reader.read()
        writer.close()
