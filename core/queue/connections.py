"""The way to Redis or Valkey: pools, time limits, retries. Only this file knows forms of URLs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialWithJitterBackoff, NoBackoff
from redis.exceptions import RedisError, ResponseError
from redis.maint_notifications import MaintNotificationsConfig

from core.errors import QueueUnavailable, SettingsError
from core.watch import Limit, Watch

_CLOSED_BY_PEER = "the handler is closed"
"""How uvloop says, by a RuntimeError, that a connection was reset; redis-py lets it through."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RedisSettings:
    """How to reach the server and how long to wait for it."""

    url: str = field(repr=False)
    """redis://, rediss:// or unix://; may hold a password."""
    client_name: str = "muster"
    pool_size: int = 32
    pool_timeout_seconds: float = 2.0
    connect_timeout_seconds: float = 2.0
    timeout_seconds: float = 2.0
    """For one command, one try."""
    total_seconds: float = 6.0
    """For one command with all its retries."""
    block_seconds: float = 5.0
    """The longest wait for a wake token."""
    health_check_seconds: float = 15.0
    """A connection idle this long is tried before use."""
    retries: int = 3
    backoff_base_seconds: float = 0.01
    backoff_cap_seconds: float = 0.5


class RedisConnections:
    """Two clients of one server.

    `retrying` repeats what failed and is for idempotent calls. `once` never does: a claim whose
    reply was lost would lease twice. It has no time limit of its own either, so that it outlasts any
    blocking wait: `guarded` around the call is its only limit.
    """

    def __init__(self, settings: RedisSettings) -> None:
        self.settings = settings
        backoff = ExponentialWithJitterBackoff(
            base=settings.backoff_base_seconds, cap=settings.backoff_cap_seconds
        )
        self.retrying = self._client("retrying", settings.timeout_seconds, Retry(backoff, settings.retries))
        self.once = self._client("once", None, Retry(NoBackoff(), 0))
        self._apart = self._client("apart", settings.timeout_seconds, Retry(NoBackoff(), 0))
        self._watch = Watch("redis", self._answers, QueueUnavailable)

    def _client(self, kind: str, socket_timeout_seconds: float | None, retry: Retry) -> Redis:
        options: dict[str, Any] = {
            "max_connections": self.settings.pool_size,
            "timeout": self.settings.pool_timeout_seconds,
            "socket_timeout": socket_timeout_seconds,
            "socket_connect_timeout": self.settings.connect_timeout_seconds,
            "health_check_interval": self.settings.health_check_seconds,
            "client_name": f"{self.settings.client_name}-{kind}",
            "retry": retry,
            "decode_responses": True,
            "protocol": 2,
            "maint_notifications_config": MaintNotificationsConfig(enabled=False),
        }
        scheme = urlsplit(self.settings.url).scheme
        if scheme in ("redis", "rediss"):
            options["socket_keepalive"] = True
        elif scheme != "unix":
            raise SettingsError("the url of Redis begins with redis://, rediss:// or unix://")
        return Redis.from_pool(BlockingConnectionPool.from_url(self.settings.url, **options))

    @asynccontextmanager
    async def guarded(
        self, total_seconds: float | None = None, *, waits: bool = False
    ) -> AsyncIterator[None]:
        """Limit the time of what is done inside, and turn every failure of Redis into QueueUnavailable.

        A server that hangs is noticed sooner than by the limit, except by what waits on purpose.
        So no other room knows redis-py. Nor does one need to know that redis-py sends under
        `asyncio.wait_for`, which before Python 3.12 can swallow a cancellation: it is raised here.
        """
        task = asyncio.current_task()
        cancellations = task.cancelling() if task else 0
        try:
            watch = None if waits else self._watch
            async with Limit(total_seconds or self.settings.total_seconds, watch):
                yield
        except (RedisError, OSError, RuntimeError) as error:
            _raise_swallowed(task, cancellations)
            if isinstance(error, RuntimeError) and _CLOSED_BY_PEER not in str(error):
                raise
            raise QueueUnavailable(f"Redis cannot be used: {type(error).__name__}") from error
        _raise_swallowed(task, cancellations)

    async def ping(self) -> None:
        """Raise QueueUnavailable unless the server answers."""
        async with self.guarded():
            await self.retrying.ping()

    async def close(self) -> None:
        """Close every connection."""
        await self._watch.close()
        async with self.guarded(waits=True):
            for client in (self.retrying, self.once, self._apart):
                await client.aclose()

    async def _answers(self) -> bool:
        """Whether the server gives a sign of life, be it a refusal; on a connection of its own."""
        try:
            await self._apart.connection_pool.disconnect()
            await self._apart.ping()
        except ResponseError:
            return True
        except (RedisError, OSError):
            return False
        return True


def _raise_swallowed(task: asyncio.Task[object] | None, cancellations: int) -> None:
    if task is not None and task.cancelling() > cancellations:
        raise asyncio.CancelledError
