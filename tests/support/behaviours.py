"""How a server may answer, from friendly to hostile; each is one connection's answer to one request."""

from __future__ import annotations

import asyncio
import gzip
import socket
import struct
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from io import BytesIO

from PIL import Image

JPEG_HEAD = b"\xff\xd8\xff\xe0\x00\x10JFIF\x00\x01\x01\x00\x00\x01\x00\x01\x00\x00"


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenRequest:
    """One request as it came in."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes

    @property
    def path(self) -> str:
        """The target without its query."""
        return self.target.partition("?")[0]


@dataclass(frozen=True, slots=True)
class Wire:
    """The connection that an answer is written to."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def send(self, content: bytes) -> None:
        self.writer.write(content)
        await self.writer.drain()

    async def until_peer_leaves(self) -> None:
        """Say nothing more until the other side closes."""
        while await self.reader.read(65536):
            pass


Behaviour = Callable[[SeenRequest, Wire], Awaitable[None]]


def head(status: int, headers: Iterable[tuple[str, str]]) -> bytes:
    lines = [f"HTTP/1.1 {status} Said", *(f"{name}: {value}" for name, value in headers)]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def reply(status: int = 200, body: bytes = b"", *headers: tuple[str, str]) -> Behaviour:
    """A plain answer with its right length."""

    async def behave(_request: SeenRequest, wire: Wire) -> None:
        await wire.send(head(status, [("Content-Length", str(len(body))), *headers]) + body)

    return behave


def redirect(location: str, status: int = 302) -> Behaviour:
    return reply(status, b"", ("Location", location))


def raw(content: bytes) -> Behaviour:
    """Exactly these bytes, then the end of the connection."""

    async def behave(_request: SeenRequest, wire: Wire) -> None:
        await wire.send(content)
        wire.writer.close()

    return behave


def hang(before: bytes = b"") -> Behaviour:
    """These bytes, then nothing, with the connection open."""

    async def behave(_request: SeenRequest, wire: Wire) -> None:
        if before:
            await wire.send(before)
        await wire.until_peer_leaves()

    return behave


def drip(body: bytes, pause_seconds: float, at_once: int = 0) -> Behaviour:
    """One byte after the other."""

    async def behave(_request: SeenRequest, wire: Wire) -> None:
        await wire.send(head(200, [("Content-Length", str(len(body)))]) + body[:at_once])
        for place in range(at_once, len(body)):
            await asyncio.sleep(pause_seconds)
            await wire.send(body[place : place + 1])

    return behave


def drip_headers(pause_seconds: float) -> Behaviour:
    """A header that never ends, one byte after the other."""

    async def behave(_request: SeenRequest, wire: Wire) -> None:
        await wire.send(b"HTTP/1.1 200 OK\r\nX-Long: ")
        while not wire.reader.at_eof():
            await wire.send(b"x")
            await asyncio.sleep(pause_seconds)

    return behave


def endless(start: bytes, *headers: tuple[str, str]) -> Behaviour:
    """A body without end, as fast as the other side takes it."""

    async def behave(_request: SeenRequest, wire: Wire) -> None:
        await wire.send(head(200, [("Connection", "close"), *headers]) + start)
        block = b"\x00" * 65536
        while not wire.writer.is_closing():
            await wire.send(block)

    return behave


def claims(length: int, body: bytes, *headers: tuple[str, str]) -> Behaviour:
    """A body that is shorter (or longer) than its Content-Length, then the end of the connection."""
    return raw(head(200, [("Content-Length", str(length)), *headers]) + body)


def reset(before: bytes = b"") -> Behaviour:
    """These bytes, then a TCP reset."""

    async def behave(_request: SeenRequest, wire: Wire) -> None:
        if before:
            await wire.send(before)
        raw_socket = wire.writer.get_extra_info("socket")
        raw_socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        wire.writer.transport.abort()

    return behave


def jpeg(width: int = 64, height: int = 48) -> bytes:
    """A small real picture."""
    content = BytesIO()
    Image.effect_noise((width, height), 40).convert("RGB").save(content, "JPEG")
    return content.getvalue()


def gzip_bomb(layers: int = 2, megabytes: int = 64) -> bytes:
    """Zeros packed several times over: small on the wire, huge for whoever unpacks it."""
    content = b"\x00" * (megabytes << 20)
    for _ in range(layers):
        content = gzip.compress(content, 9)
    return content
