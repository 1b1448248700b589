"""A named lock has one holder at a time and ends by itself."""

from __future__ import annotations

import asyncio

from core.queue.connections import RedisConnections
from core.queue.locks import NamedLock


async def test_one_of_many_gets_the_lock(connections: RedisConnections) -> None:
    locks = [NamedLock(connections, "reconcile", ttl_seconds=30) for _ in range(10)]
    won = await asyncio.gather(*(lock.acquire() for lock in locks))
    assert sum(won) == 1


async def test_a_released_lock_is_free(connections: RedisConnections) -> None:
    first, second = (NamedLock(connections, "solo", ttl_seconds=30) for _ in range(2))
    assert await first.acquire()
    assert not await second.acquire()
    assert await first.release()
    assert await second.acquire()


async def test_who_does_not_hold_it_cannot_extend_or_release_it(connections: RedisConnections) -> None:
    holder, other = (NamedLock(connections, "solo", ttl_seconds=30) for _ in range(2))
    assert await holder.acquire()
    assert not await other.extend()
    assert not await other.release()
    assert await holder.extend()


async def test_extending_begins_its_time_again(connections: RedisConnections) -> None:
    lock = NamedLock(connections, "solo", ttl_seconds=30)
    assert await lock.acquire()
    await connections.retrying.pexpire("mst:lock:solo", 1000)
    assert await lock.extend()
    assert await connections.retrying.pttl("mst:lock:solo") > 25_000


async def test_a_lock_whose_time_is_over_is_lost_without_harm(connections: RedisConnections) -> None:
    lost, next_holder = (NamedLock(connections, "reconcile", ttl_seconds=30) for _ in range(2))
    assert await lost.acquire()
    await connections.retrying.delete("mst:lock:reconcile")
    assert await next_holder.acquire()
    assert not await lost.extend()
    assert not await lost.release()
    assert not await lost.acquire()


async def test_locks_of_different_names_do_not_meet(connections: RedisConnections) -> None:
    assert await NamedLock(connections, "solo", ttl_seconds=30).acquire()
    assert await NamedLock(connections, "reconcile", ttl_seconds=30).acquire()
