"""Real servers on loopback: one with pictures and bad manners, one that receives callbacks."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections import Counter, deque
from contextlib import suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

from standardwebhooks import Webhook, WebhookVerificationError

from tests.support.behaviours import Behaviour, SeenRequest, Wire, reply

HEAD_LIMIT_BYTES = 1 << 20


class LoopbackServer:
    """Answers each path by its behaviour, the rest with 404; keeps connections alive."""

    def __init__(self, host: str = "127.0.0.1", port: int = 0, *, tls: ssl.SSLContext | None = None) -> None:
        self.host = host
        self.port = port
        self.answers: dict[str, Behaviour] = {}
        self.default: Behaviour = reply(404)
        self.requests: list[SeenRequest] = []
        self.accepted = 0
        self.most_at_once = 0
        self._at_once = 0
        self._is_closing = False
        self._came = asyncio.Condition()
        self._tls = tls
        self._server: asyncio.Server | None = None
        self._open: dict[asyncio.Task[None], asyncio.StreamWriter] = {}

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(
            self._serve, self.host, self.port, ssl=self._tls, limit=HEAD_LIMIT_BYTES
        )
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._is_closing = True
        if self._server is not None:
            self._server.close()
        for writer in self._open.values():
            writer.transport.abort()
        for task in list(self._open):
            task.cancel()
        await asyncio.gather(*self._open, return_exceptions=True)
        if self._server is not None:
            await self._server.wait_closed()

    @property
    def origin(self) -> str:
        scheme = "https" if self._tls else "http"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{scheme}://{host}:{self.port}"

    def url(self, path: str, host: str | None = None) -> str:
        """The address of a path, by another name of this host if wished."""
        return self.origin.replace(self.host, host, 1) + path if host else self.origin + path

    def serve(self, path: str, behaviour: Behaviour) -> str:
        """Answer this path so from now on; gives its url."""
        self.answers[path] = behaviour
        return self.url(path)

    async def wait_for_requests(self, count: int, *, limit_seconds: float = 10) -> None:
        """Wait until so many requests have come."""
        async with asyncio.timeout(limit_seconds), self._came:
            await self._came.wait_for(lambda: len(self.requests) >= count)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        task = asyncio.current_task()
        assert task is not None
        self._open[task] = writer
        try:
            with suppress(ConnectionError, asyncio.IncompleteReadError, ssl.SSLError):
                await self._converse(Wire(reader, writer))
        except asyncio.CancelledError:
            if not self._is_closing:  # a cancelled connection task makes asyncio.streams log an error
                raise
        finally:
            del self._open[task]
            writer.close()

    async def _converse(self, wire: Wire) -> None:
        while not wire.writer.is_closing():
            request = await read_request(wire.reader)
            async with self._came:
                self.requests.append(request)
                self._came.notify_all()
            self._at_once += 1
            self.most_at_once = max(self.most_at_once, self._at_once)
            try:
                await self.answer(request, wire)
            finally:
                self._at_once -= 1

    async def answer(self, request: SeenRequest, wire: Wire) -> None:
        """Answer one request."""
        await self.answers.get(request.path, self.default)(request, wire)


async def read_request(reader: asyncio.StreamReader) -> SeenRequest:
    """Read one request with its body."""
    lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    method, target, _ = lines[0].split(" ", 2)
    pairs = (line.partition(":") for line in lines[1:] if line)
    headers = {name.strip().lower(): value.strip() for name, _, value in pairs}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return SeenRequest(method=method, target=target, headers=headers, body=body)


class ImageServer(LoopbackServer):
    """Serves pictures: `serve(path, behaviour)`, or `add(path, content)` for a plain one."""

    def __init__(self, host: str = "127.0.0.1", port: int = 0, *, tls: ssl.SSLContext | None = None) -> None:
        super().__init__(host, port, tls=tls)
        self.contents: dict[str, bytes] = {}

    def add(self, path: str, content: bytes, content_type: str = "image/jpeg") -> str:
        """Serve these bytes; gives their url."""
        self.contents[path] = content
        return self.serve(path, reply(200, content, ("Content-Type", content_type)))


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceivedCallback:
    """One POST that came in; only a verified one may be believed."""

    webhook_id: str
    headers: dict[str, str]
    body: bytes
    is_verified: bool
    payload: Any = field(default=None)

    @property
    def type(self) -> str:
        """The event's type, `task.completed` for one; empty when the payload has none."""
        return str(self.payload.get("type", "")) if isinstance(self.payload, dict) else ""


class CallbackReceiver(LoopbackServer):
    """Receives callbacks, verifies their signatures and answers as told.

    Replies are taken from `replies` in order; after those comes 204. A callback without a valid
    signature of one of the `secrets` is recorded as not verified and gets 401.
    """

    def __init__(
        self, *secrets: str, host: str = "127.0.0.1", port: int = 0, tls: ssl.SSLContext | None = None
    ) -> None:
        super().__init__(host, port, tls=tls)
        self.secrets = list(secrets)
        self.received: list[ReceivedCallback] = []
        self.replies: deque[Behaviour] = deque()

    async def answer(self, request: SeenRequest, wire: Wire) -> None:
        """Record, verify, then reply."""
        callback = self._read(request)
        async with self._came:
            self.received.append(callback)
            self._came.notify_all()
        refused = reply(401) if self.secrets and not callback.is_verified else None
        told = self.replies.popleft() if self.replies and refused is None else reply(204)
        await (refused or told)(request, wire)

    def _read(self, request: SeenRequest) -> ReceivedCallback:
        payload = None
        with suppress(ValueError):
            payload = json.loads(request.body)
        return ReceivedCallback(
            webhook_id=request.headers.get("webhook-id", ""),
            headers=request.headers,
            body=request.body,
            is_verified=any(_is_signed(secret, request) for secret in self.secrets),
            payload=payload,
        )

    async def wait_for(self, count: int, *, type_: str | None = None, limit_seconds: float = 10) -> None:
        """Wait until so many callbacks (of this type) have come."""

        def has_come() -> bool:
            return sum(type_ in (None, each.type) for each in self.received) >= count

        async with asyncio.timeout(limit_seconds), self._came:
            await self._came.wait_for(has_come)

    def duplicates(self) -> dict[str, int]:
        """Give the ids that came more than once, with their number."""
        seen = Counter(each.webhook_id for each in self.received)
        return {webhook_id: count for webhook_id, count in seen.items() if count > 1}


def _is_signed(secret: str, request: SeenRequest) -> bool:
    try:
        Webhook(secret).verify(request.body, request.headers)
    except (WebhookVerificationError, ValueError):  # its verify leaks ValueError of odd signatures
        return False
    return True
