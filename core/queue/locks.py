"""Named locks, for duties that need to run only once. Losing one is harmless: it only saves work."""

from __future__ import annotations

from redis.asyncio.lock import Lock
from redis.exceptions import LockError

from core.queue.connections import RedisConnections
from core.queue.keys import DEFAULT_NAMESPACE, lock_key


class NamedLock:
    """One lock, such as `reconcile` or `solo`; held for `ttl_seconds` unless extended.

    Each call answers at once: nobody waits for a lock here. Raises QueueUnavailable.
    """

    def __init__(
        self,
        connections: RedisConnections,
        name: str,
        *,
        ttl_seconds: float,
        namespace: str = DEFAULT_NAMESPACE,
    ) -> None:
        self.name = name
        self.ttl_seconds = ttl_seconds
        self._connections = connections
        # Never repeated: a lost reply would make a second try find the lock taken, by itself.
        self._lock = Lock(
            connections.once, lock_key(namespace, name), timeout=ttl_seconds, thread_local=False
        )

    async def acquire(self) -> bool:
        """Take the lock if it is free."""
        async with self._connections.guarded(self._connections.settings.timeout_seconds):
            return bool(await self._lock.acquire(blocking=False))

    async def extend(self) -> bool:
        """Hold it for another `ttl_seconds` from now; False = it is not held any more."""
        async with self._connections.guarded(self._connections.settings.timeout_seconds):
            try:
                return await self._lock.extend(self.ttl_seconds, replace_ttl=True)
            except LockError:
                return False

    async def release(self) -> bool:
        """Give it back; False = it was not held any more."""
        async with self._connections.guarded(self._connections.settings.timeout_seconds):
            try:
                await self._lock.release()
            except LockError:
                return False
            return True
