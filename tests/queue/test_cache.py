"""The cache keeps texts for a while."""

from __future__ import annotations

import pytest

from core.errors import CacheMiss, QueueUnavailable
from core.queue.cache import Cache
from core.queue.connections import RedisConnections, RedisSettings
from tests.support.valkey import PrivateValkey


async def test_a_value_is_read_back_until_it_is_deleted(connections: RedisConnections) -> None:
    cache = Cache(connections, "systems")
    await cache.set("farm", '{"weight": 3}', ttl_seconds=60)
    assert await cache.get("farm") == '{"weight": 3}'
    assert await cache.delete("farm") is True
    assert await cache.delete("farm") is False
    with pytest.raises(CacheMiss, match="mst:cache:systems:farm"):
        await cache.get("farm")


async def test_areas_and_namespaces_do_not_meet(connections: RedisConnections) -> None:
    await Cache(connections, "systems").set("farm", "1", ttl_seconds=60)
    with pytest.raises(CacheMiss):
        await Cache(connections, "stats").get("farm")
    with pytest.raises(CacheMiss):
        await Cache(connections, "systems", namespace="other").get("farm")


async def test_a_value_has_the_time_to_live_it_was_given(connections: RedisConnections) -> None:
    await Cache(connections, "systems").set("farm", "1", ttl_seconds=1.5)
    assert 1000 < await connections.retrying.pttl("mst:cache:systems:farm") <= 1500


async def test_a_server_that_is_away_is_not_a_miss(valkey: PrivateValkey) -> None:
    connections = RedisConnections(RedisSettings(url=f"{valkey.url}.missing", retries=0))
    with pytest.raises(QueueUnavailable):
        await Cache(connections, "systems").get("farm")
    await connections.close()
