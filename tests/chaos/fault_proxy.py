"""A proxy that stands between two ends of a connection and makes it as bad as networks can be."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Awaitable, Callable
from contextlib import suppress
from types import TracebackType
from typing import Self

from tests.chaos.faults import Weather

_CHUNK_BYTES = 65536
_SLOW_BYTES_PER_SECOND = 20_000.0
_LATENCY_SECONDS = 0.15
_CONNECT_SECONDS = 5.0

Opened = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class _Connection:
    """One connection through the proxy: both ends, and whether it is half-open."""

    def __init__(self, client: Opened, server: Opened) -> None:
        self.client, self.server = client, server
        self.is_half_open = False

    def abort(self) -> None:
        for _, writer in (self.client, self.server):
            _reset(writer)


class FaultProxy:
    """Passes bytes on to `upstream`; calm until `disturb` says otherwise."""

    def __init__(self, upstream: Callable[[], Awaitable[Opened]], *, port: int = 0) -> None:
        self._upstream = upstream
        self.port = port
        self.accepted = 0
        self._connections: set[_Connection] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self._latency_seconds = 0.0
        self._bytes_per_second = 0.0
        self._may_pass = asyncio.Event()
        self._may_pass.set()
        self._is_closing = False

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._is_closing = True
        if self._server is not None:
            self._server.close()
        for connection in list(self._connections):
            connection.abort()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def disturb(self, weather: Weather) -> None:
        """Let the weather change; `calm` ends it. Resets and half-open ends hit what is open now."""
        match weather:
            case Weather.LATENCY:
                self._latency_seconds = _LATENCY_SECONDS
            case Weather.BANDWIDTH:
                self._bytes_per_second = _SLOW_BYTES_PER_SECOND
            case Weather.SILENCE:
                self._may_pass.clear()
            case Weather.HALF_OPEN:
                for connection in self._connections:
                    connection.is_half_open = True
                    _reset(connection.server[1])
            case Weather.RESET:
                for connection in list(self._connections):
                    connection.abort()

    def calm(self) -> None:
        """Pass everything on again; what was held back goes on, what is half-open stays so."""
        self._latency_seconds = self._bytes_per_second = 0.0
        self._may_pass.set()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            await self._connect((reader, writer))
        except asyncio.CancelledError:
            if not self._is_closing:  # a cancelled connection task makes asyncio.streams log an error
                raise
        finally:
            self._tasks.discard(task)
            _reset(writer)

    async def _connect(self, client: Opened) -> None:
        try:
            async with asyncio.timeout(_CONNECT_SECONDS):
                server = await self._upstream()
        except (OSError, TimeoutError):
            return
        connection = _Connection(client, server)
        self._connections.add(connection)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._pump(connection, client[0], server[1]))
                group.create_task(self._pump(connection, server[0], client[1]))
        finally:
            self._connections.discard(connection)
            connection.abort()

    async def _pump(
        self, connection: _Connection, source: asyncio.StreamReader, target: asyncio.StreamWriter
    ) -> None:
        with suppress(ConnectionError):
            while chunk := await source.read(_CHUNK_BYTES):
                await self._weather(len(chunk))
                if not connection.is_half_open:
                    target.write(chunk)
                    await target.drain()
        # The end that is left of a half-open connection is not told: it waits until its patience ends.
        if not connection.is_half_open:
            with suppress(OSError, RuntimeError):
                target.write_eof()

    async def _weather(self, size: int) -> None:
        await self._may_pass.wait()
        if self._latency_seconds:
            await asyncio.sleep(self._latency_seconds)
        if self._bytes_per_second:
            await asyncio.sleep(size / self._bytes_per_second)


def to_port(port: int, host: str = "127.0.0.1") -> Callable[[], Awaitable[Opened]]:
    """Connect to a port."""
    return lambda: asyncio.open_connection(host, port)


def to_socket(path: str) -> Callable[[], Awaitable[Opened]]:
    """Connect to a unix socket."""
    return lambda: asyncio.open_unix_connection(path)


def _reset(writer: asyncio.StreamWriter) -> None:
    """End a connection as a crash would: the peer gets a reset, not an end of file."""
    raw = writer.get_extra_info("socket")
    if raw is not None and raw.family != socket.AF_UNIX:
        with suppress(OSError, ValueError):  # closed meanwhile; uvloop says ValueError
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
