"""Connections that are cut under the loop that web processes and workers run on."""

from __future__ import annotations

import asyncio
from collections import Counter

import uvloop

from core.errors import QueueUnavailable
from core.queue.connections import RedisConnections, RedisSettings
from tests.chaos.fault_proxy import FaultProxy, to_socket
from tests.chaos.faults import Weather
from tests.support.valkey import PrivateValkey

_CALLERS, _CALLS, _CUTS = 8, 200, 40


async def _call(connections: RedisConnections, seen: Counter[str]) -> None:
    for _ in range(_CALLS):
        try:
            async with connections.guarded():
                await connections.retrying.set("key", "x" * 1000)
            seen["answered"] += 1
        except QueueUnavailable as error:
            seen[type(error.__cause__).__name__] += 1
        await asyncio.sleep(0)


async def _call_through_resets(valkey: PrivateValkey) -> Counter[str]:
    seen: Counter[str] = Counter()
    async with FaultProxy(to_socket(str(valkey.socket))) as proxy:
        connections = RedisConnections(
            RedisSettings(url=f"redis://127.0.0.1:{proxy.port}/0", pool_size=_CALLERS)
        )
        async with asyncio.timeout(30), asyncio.TaskGroup() as group:
            callers = [group.create_task(_call(connections, seen)) for _ in range(_CALLERS)]
            for _ in range(_CUTS):
                await asyncio.sleep(0.01)
                proxy.disturb(Weather.RESET)
            await asyncio.wait(callers)
        await connections.close()
    return seen


def test_a_reset_under_uvloop_is_redis_away_and_no_other_error(shared_valkey: PrivateValkey) -> None:
    seen = uvloop.run(_call_through_resets(shared_valkey))
    assert seen["RuntimeError"] > 0  # what uvloop says and redis-py lets through has been met
    assert seen["answered"] > _CALLERS * _CALLS / 2
