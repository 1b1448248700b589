"""A small cache for what is read often; every value has a time to live, and losing it is harmless."""

from __future__ import annotations

import math

from core.errors import CacheMiss
from core.queue.connections import RedisConnections
from core.queue.keys import DEFAULT_NAMESPACE, cache_key


class Cache:
    """Texts by name in one area, such as `systems` or `stats`. Raises QueueUnavailable."""

    def __init__(
        self, connections: RedisConnections, area: str, *, namespace: str = DEFAULT_NAMESPACE
    ) -> None:
        self._connections = connections
        self._area = area
        self._namespace = namespace

    def _key(self, name: str) -> str:
        return cache_key(self._namespace, self._area, name)

    async def get(self, name: str) -> str:
        """Read a value.

        Raises:
            CacheMiss: it is not there, or no longer; names the key.
        """
        key = self._key(name)
        async with self._connections.guarded():
            value = await self._connections.retrying.get(key)
        if value is None:
            raise CacheMiss(f"The cache does not hold {key}.")
        return str(value)

    async def set(self, name: str, value: str, *, ttl_seconds: float) -> None:
        """Keep a value for a while."""
        ttl_ms = max(1, math.ceil(ttl_seconds * 1000))
        async with self._connections.guarded():
            await self._connections.retrying.set(self._key(name), value, px=ttl_ms)

    async def delete(self, name: str) -> bool:
        """Forget a value; tell whether there was one."""
        async with self._connections.guarded():
            return bool(await self._connections.retrying.delete(self._key(name)))
