"""A worker's own livez, readyz and metrics, on its own port."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Generator
from contextlib import asynccontextmanager, contextmanager, suppress
from time import monotonic
from typing import Any

import uvicorn
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from core.errors import Unavailable
from core.store import migrate
from core.store.engine import Database

LIVE_SECONDS = 30.0
_START_SECONDS = 10.0

_Scope = Any
_Send = Callable[[Any], Awaitable[None]]


class Pulse:
    """When each duty that a worker lives by was last begun; a pid says nothing about that."""

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._begun_at: dict[str, float] = {}
        self._watched: list[tuple[str, float, Callable[[], bool]]] = []

    def before(
        self,
        duty: str,
        step: Callable[[], Awaitable[object]],
        *,
        within_seconds: float = LIVE_SECONDS,
        unless: Callable[[], bool] = lambda: False,
    ) -> Callable[[], Awaitable[object]]:
        """The step, noted each time it begins; while `unless` is true it need not begin.

        What database or queue answer does not count: starting anew helps no worker while they are away.
        """
        self._begun_at[duty] = self._clock()
        self._watched.append((duty, within_seconds, unless))

        async def noted() -> None:
            self._begun_at[duty] = self._clock()
            await step()

        return noted

    def faults(self) -> list[str]:
        """The duties that were due and were not begun."""
        at = self._clock()
        ages = [(duty, at - self._begun_at[duty], limit, unless) for duty, limit, unless in self._watched]
        return [
            f"{duty}: not begun for {age_seconds:.0f} s"
            for duty, age_seconds, limit, unless in ages
            if age_seconds > limit and not unless()
        ]


class Health:
    """A tiny ASGI application for probes and scrapes."""

    def __init__(self, db: Database, pulse: Pulse, measure: Callable[[], Awaitable[None]]) -> None:
        self._db, self._pulse, self._measure = db, pulse, measure

    async def __call__(self, scope: _Scope, _receive: object, send: _Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        status, body, kind = await self._answer(str(scope["path"]))
        headers = [(b"content-type", kind.encode()), (b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    async def _answer(self, path: str) -> tuple[int, bytes, str]:
        if path == "/metrics":
            await self._measure()
            return 200, generate_latest(), CONTENT_TYPE_LATEST
        if path == "/livez":
            return _health(self._pulse.faults())
        if path == "/readyz":
            return _health(await self._faults())
        return 404, b'{"status":"not found"}', "application/json"

    async def _faults(self) -> list[str]:
        try:
            migrated = await migrate.is_migrated(self._db)
        except Unavailable as error:
            return [error.message]
        return [] if migrated else ["the database is not migrated: run muster migrate"]


class _Server(uvicorn.Server):
    """A server that leaves signals to the worker and is told to stop by its flag."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.listening = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, and say so."""
        await super().startup(sockets)
        self.listening.set()

    @contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """Capture none."""
        yield


def _health(faults: list[str]) -> tuple[int, bytes, str]:
    told = {"status": "not ok" if faults else "ok", "reasons": faults}
    return 503 if faults else 200, json.dumps(told).encode(), "application/json"


@asynccontextmanager
async def serve_health(health: Health, *, host: str, port: int) -> AsyncIterator[None]:
    """Serve while inside; port 0 serves nothing."""
    if port == 0:
        yield
        return
    config = uvicorn.Config(
        health,
        host=host,
        port=port,
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=1,
    )
    server = _Server(config)
    task = asyncio.create_task(server.serve(), name="health")
    try:
        async with asyncio.timeout(_START_SECONDS):
            await server.listening.wait()
        yield
    finally:
        server.should_exit = True
        with suppress(asyncio.CancelledError):
            await task
