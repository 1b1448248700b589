"""A small real DNS server on loopback whose zone a test writes."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Callable
from ipaddress import ip_address
from types import TracebackType
from typing import Self

from core.net import NameServers, SystemResolver

Answers = list[str] | Callable[[], list[str]] | None

_A, _AAAA = 1, 28
_REPLY, _TRUNCATED, _NAME_ERROR = 0x8180, 0x0200, 3


class DnsServer(asyncio.DatagramProtocol):
    """Answers A and AAAA from `zone`: addresses, a function giving them, or None = never answers.

    Names in `truncated` get a reply that sends the asker to TCP, where another question is answered.
    """

    def __init__(self) -> None:
        self.zone: dict[str, Answers] = {}
        self.truncated: set[str] = set()
        self.asked: list[tuple[str, int]] = []
        self.port = 0
        self._transport: asyncio.DatagramTransport | None = None
        self._tcp: asyncio.Server | None = None

    async def __aenter__(self) -> Self:
        self._tcp = await asyncio.start_server(self._answer_wrongly, "127.0.0.1", 0)
        self.port = self._tcp.sockets[0].getsockname()[1]
        loop = asyncio.get_running_loop()
        self._transport, _ = await loop.create_datagram_endpoint(
            lambda: self, local_addr=("127.0.0.1", self.port)
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._transport is not None
        assert self._tcp is not None
        self._transport.close()
        self._tcp.close()
        await self._tcp.wait_closed()

    def resolver(self, timeout_seconds: float = 2.0, search: tuple[str, ...] = ()) -> SystemResolver:
        """Give the service's resolver, asking this server."""
        servers = NameServers(addresses=("127.0.0.1",), port=self.port, search=search)
        return SystemResolver(timeout_seconds=timeout_seconds, servers=servers)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        name, kind, question = _read_question(data)
        self.asked.append((name, kind))
        answers = self.zone.get(name, [])
        if answers is None or self._transport is None:
            return
        if name in self.truncated:
            reply = data[:2] + struct.pack("!HHHHH", _REPLY | _TRUNCATED, 1, 0, 0, 0) + question
        else:
            found = answers() if callable(answers) else answers
            reply = _reply(data[:2], question, kind, found, is_known=name in self.zone)
        self._transport.sendto(reply, addr)

    async def _answer_wrongly(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        (length,) = struct.unpack("!H", await reader.readexactly(2))
        query = await reader.readexactly(length)
        reply = _reply(query[:2], b"\x05other\x04test\x00" + struct.pack("!HH", _A, 1), _A, [], is_known=True)
        writer.write(struct.pack("!H", len(reply)) + reply)
        await writer.drain()
        writer.close()


def _read_question(query: bytes) -> tuple[str, int, bytes]:
    labels, place = [], 12
    while query[place]:
        labels.append(query[place + 1 : place + 1 + query[place]].decode("ascii"))
        place += 1 + query[place]
    (kind,) = struct.unpack_from("!H", query, place + 1)
    return ".".join(labels).lower(), kind, query[12 : place + 5]


def _reply(query_id: bytes, question: bytes, kind: int, found: list[str], *, is_known: bool) -> bytes:
    version = {_A: 4, _AAAA: 6}.get(kind)
    packed = [address.packed for address in map(ip_address, found) if address.version == version]
    flags = _REPLY if is_known else _REPLY | _NAME_ERROR
    records = (struct.pack("!HHHIH", 0xC00C, kind, 1, 0, len(each)) + each for each in packed)
    return query_id + struct.pack("!HHHHH", flags, 1, len(packed), 0, 0) + question + b"".join(records)
