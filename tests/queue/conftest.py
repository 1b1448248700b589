"""A private Valkey for the queue's tests, emptied before each."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from core.queue.connections import RedisConnections, RedisSettings
from core.queue.queue import TaskQueue
from tests.support.valkey import PrivateValkey


@pytest.fixture(scope="module")
def shared_valkey() -> Iterator[PrivateValkey]:
    """Serve Valkey to one module."""
    with PrivateValkey() as server:
        yield server


@pytest.fixture
def valkey(shared_valkey: PrivateValkey) -> PrivateValkey:
    """Give the module's server, empty."""
    shared_valkey.flush()
    return shared_valkey


@pytest.fixture
async def connections(valkey: PrivateValkey) -> AsyncIterator[RedisConnections]:
    """Give connections to the server."""
    connections = RedisConnections(RedisSettings(url=valkey.url))
    yield connections
    await connections.close()


@pytest.fixture
def queue(connections: RedisConnections) -> TaskQueue:
    """Give a queue without limits."""
    return TaskQueue(connections, "recognition")
