"""The servers under the tests do what the tests believe of them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine
from sqlalchemy.pool import NullPool

from tests.support.servers import PrivateMariadb, PrivatePostgresql


@asynccontextmanager
async def _connect(url: str) -> AsyncIterator[AsyncConnection]:
    engine = create_async_engine(url, poolclass=NullPool)
    try:
        async with asyncio.timeout(10), engine.begin() as connection:
            yield connection
    finally:
        await engine.dispose()


async def test_a_database_is_empty_and_apart_from_the_others(database_url: str) -> None:
    async with _connect(database_url) as connection:
        await connection.execute(text("CREATE TABLE kept (id BIGINT PRIMARY KEY)"))


async def test_a_killed_server_keeps_what_was_committed(
    own_server: PrivateMariadb | PrivatePostgresql,
) -> None:
    url = await own_server.create_database()
    async with _connect(url) as connection:
        await connection.execute(text("CREATE TABLE kept (id BIGINT PRIMARY KEY)"))
        await connection.execute(text("INSERT INTO kept VALUES (7)"))

    own_server.kill()
    with pytest.raises((DBAPIError, OSError)):
        async with _connect(url):
            pass
    own_server.start()

    async with _connect(url) as connection:
        assert (await connection.execute(text("SELECT id FROM kept"))).scalar_one() == 7


async def test_a_server_answers_on_its_port_too(own_server: PrivateMariadb | PrivatePostgresql) -> None:
    name = (await own_server.create_database()).split("/")[-1].split("?")[0]
    async with _connect(own_server.tcp_url(name)) as connection:
        assert (await connection.execute(text("SELECT 1"))).scalar_one() == 1


async def test_a_frozen_server_answers_again_when_thawed(
    own_server: PrivateMariadb | PrivatePostgresql,
) -> None:
    url = await own_server.create_database()
    async with _connect(url) as connection:
        own_server.freeze()
        async with asyncio.TaskGroup() as group:
            answer = group.create_task(connection.execute(text("SELECT 1")))
            done, _ = await asyncio.wait({answer}, timeout=0.2)
            own_server.thaw()
        assert not done
        assert answer.result().scalar_one() == 1


def test_a_server_is_not_run_by_root(own_server: PrivateMariadb | PrivatePostgresql) -> None:
    assert own_server.account.uid != 0
    assert own_server.folder.stat().st_uid == own_server.account.uid
    assert Path(f"/proc/{own_server.pid}").stat().st_uid == own_server.account.uid
