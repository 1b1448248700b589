"""Turns and lanes: who may send a request now, and through which connection pool.

An httpx pool slows down with every request in flight, so there are several with a few each.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

import httpx
from ssrfguard import Policy, Resolver
from ssrfguard.httpx import AsyncSafeTransport

KEEPALIVE_SECONDS = 15.0

# Its debug records carry every response header, so a Location with its query.
logging.getLogger("httpcore").setLevel(logging.WARNING)


@dataclass(slots=True)
class _Host:
    free: asyncio.Semaphore
    users: int = 0


class HostTurns:
    """At most `limit` requests at work per host; the others wait in order."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._hosts: dict[str, _Host] = {}

    @asynccontextmanager
    async def turn(self, host: str) -> AsyncIterator[None]:
        """Wait for this host's turn and hold it."""
        entry = self._hosts.setdefault(host, _Host(asyncio.Semaphore(self._limit)))
        entry.users += 1
        try:
            async with entry.free:
                yield
        finally:
            entry.users -= 1
            if entry.users == 0:
                del self._hosts[host]


@dataclass(slots=True)
class _Lane:
    transport: AsyncSafeTransport
    in_flight: int = field(default=0)


class Lanes:
    """A few guarded connection pools of one policy; the least busy one takes the next request.

    The transports are used without httpx's client: that would keep cookies from one request to the
    next and log every url with its query.
    """

    def __init__(
        self,
        policy: Policy,
        resolver: Resolver,
        tls: ssl.SSLContext,
        *,
        count: int,
        in_flight_each: int,
        keeps: bool = True,
    ) -> None:
        limits = httpx.Limits(
            max_connections=2 * in_flight_each,
            max_keepalive_connections=in_flight_each if keeps else 0,
            keepalive_expiry=KEEPALIVE_SECONDS,
        )
        self._free = asyncio.Semaphore(count * in_flight_each)
        self._lanes = [
            _Lane(
                AsyncSafeTransport(
                    policy=policy,
                    resolver=resolver,
                    verify=tls,
                    trust_env=False,
                    limits=limits,
                    resolver_slots=in_flight_each,
                )
            )
            for _ in range(count)
        ]

    @asynccontextmanager
    async def lane(self) -> AsyncIterator[AsyncSafeTransport]:
        """Wait for room and lend the least busy pool."""
        async with self._free:
            lane = min(self._lanes, key=lambda each: each.in_flight)
            lane.in_flight += 1
            try:
                yield lane.transport
            finally:
                lane.in_flight -= 1

    async def aclose(self) -> None:
        """Close every connection."""
        async with AsyncExitStack() as stack:
            for lane in self._lanes:
                stack.push_async_callback(lane.transport.aclose)
