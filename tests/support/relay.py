"""A relay in front of a server: it can be cut like a cable, and it can swallow one reply."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from hashlib import sha1
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

from sqlalchemy import make_url

from core.queue.keys import QueueKeys
from core.queue.scripts import load_sources

_CHUNK_BYTES = 1 << 16
_KEPT_BYTES = 1 << 20
_CONNECT_SECONDS = 5.0

Opened = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Relay:
    """Passes bytes between its port on loopback and a server given by path or by host and port."""

    def __init__(self, target: str | tuple[str, int]) -> None:
        self._target = target
        self._wanted: tuple[bytes, ...] = ()
        self.swallowed = asyncio.Event()
        """Set when a reply was swallowed: the server has done what it was asked, nobody was told."""
        self._is_cut = self._is_closing = False
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self.port = 0

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._is_closing = True
        if self._server is not None:
            self._server.close()
        self.cut()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def cut(self) -> None:
        """Break every connection and refuse new ones."""
        self._is_cut = True
        for writer in self._writers:
            writer.transport.abort()

    def heal(self) -> None:
        """Let connections through again."""
        self._is_cut = False

    def swallow_reply_to(self, *wanted: bytes) -> None:
        """Swallow the reply to the next request that ends this sequence on one connection, and break it."""
        self.swallowed.clear()
        self._wanted = wanted

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self._writers.add(writer)
        try:
            if not self._is_cut:
                with suppress(ConnectionError, TimeoutError):
                    await self._join((reader, writer))
        finally:
            self._writers.discard(writer)
            self._tasks.discard(task)
            writer.close()

    async def _join(self, client: Opened) -> None:
        server = await self._open()
        self._writers.add(server[1])
        mute = asyncio.Event()
        try:
            await asyncio.gather(
                self._requests(client[0], server[1], mute), self._replies(server[0], client[1], mute)
            )
        finally:
            self._writers.discard(server[1])
            server[1].close()

    async def _open(self) -> Opened:
        async with asyncio.timeout(_CONNECT_SECONDS):
            if isinstance(self._target, str):
                return await asyncio.open_unix_connection(self._target)
            return await asyncio.open_connection(*self._target)

    async def _requests(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, mute: asyncio.Event
    ) -> None:
        seen, step = b"", 0
        while chunk := await reader.read(_CHUNK_BYTES):
            seen = (seen + chunk)[-_KEPT_BYTES:] if self._wanted else b""
            while self._wanted and step < len(self._wanted) and self._wanted[step] in seen:
                seen = seen.partition(self._wanted[step])[2]
                step += 1
            if self._wanted and step == len(self._wanted):
                mute.set()
                self._wanted = ()
            writer.write(chunk)
            await writer.drain()
        writer.close()

    async def _replies(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, mute: asyncio.Event
    ) -> None:
        while chunk := await reader.read(_CHUNK_BYTES):
            if mute.is_set():
                writer.transport.abort()
                self.swallowed.set()
                raise ConnectionAbortedError
            writer.write(chunk)
            await writer.drain()
        writer.close()


def relay_to_redis(url: str) -> Relay:
    """Give a relay to a server on a unix socket."""
    return Relay(urlsplit(url).path)


def relay_to_database(url: str) -> Relay:
    """Give a relay to a database server, however the url reaches it."""
    given = make_url(url)
    socket = given.query.get("unix_socket")
    return Relay(str(socket) if socket else (str(given.host), int(given.port or 3306)))


def database_url_through(relay: Relay, url: str) -> str:
    """Give the url of the same database by way of a relay."""
    by_port = make_url(url).set(host="127.0.0.1", port=relay.port, query={})
    return by_port.render_as_string(hide_password=False)


def redis_url_through(relay: Relay) -> str:
    """Give the url of a Redis server by way of a relay."""
    return f"redis://127.0.0.1:{relay.port}/0"


def call_of(script: str, queue: str) -> bytes:
    """Give the bytes by which a call of one of our scripts for one queue is known, once it is loaded."""
    name = sha1(load_sources()[script].encode(), usedforsecurity=False).hexdigest()
    keys = QueueKeys(queue=queue).for_scripts()
    arguments = (name, str(len(keys)), keys[0])
    return "\r\n".join(f"${len(each)}\r\n{each}" for each in arguments).encode()
