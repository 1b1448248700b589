"""A database that goes away is told in time, and comes back without a restart of ours."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import pytest
from sqlalchemy import update
from sqlalchemy.ext.asyncio import AsyncConnection

from core.domain.task import TaskStatus
from core.errors import DatabaseUnavailable
from core.settings import DatabaseSettings
from core.store.migrate import upgrade
from core.store.submissions import SubmissionKind
from core.store.tables import task
from tests.support.servers import PrivateMariadb, PrivatePostgresql
from tests.support.store import Store

Server = PrivateMariadb | PrivatePostgresql
_IN_TIME_SECONDS = 3.0


@pytest.fixture
async def frail_store(own_server: Server) -> AsyncIterator[Store]:
    """Give a store on a server that the test may kill."""
    url = await own_server.create_database()
    await upgrade(DatabaseSettings(url=url))
    opened = Store.open(url, statement_timeout_seconds=2.0, pool_size=4)
    yield opened
    await opened.db.close()


async def _is_unavailable(store: Store) -> bool:
    began = time.monotonic()
    with pytest.raises(DatabaseUnavailable):
        await store.db.ping()
    return time.monotonic() - began < _IN_TIME_SECONDS


async def test_a_pool_survives_a_restart_of_the_server(frail_store: Store, own_server: Server) -> None:
    waiting = await frail_store.pending()
    # Fill the pool with connections that the restart will cut.
    await asyncio.gather(*(frail_store.db.ping() for _ in range(4)))
    own_server.restart()
    await asyncio.gather(*(frail_store.db.ping() for _ in range(4)))
    assert (await frail_store.reload(waiting)).status is TaskStatus.PENDING
    assert await frail_store.pending()


async def test_a_killed_server_is_told_in_time_by_readers_and_writers(
    frail_store: Store, own_server: Server
) -> None:
    first = await frail_store.pending()
    own_server.kill()
    assert await _is_unavailable(frail_store)

    new = [await frail_store.new(idempotency_key=f"k-{number}") for number in range(20)]
    async with frail_store.submissions() as submissions:
        began = time.monotonic()
        found = await asyncio.gather(*(submissions.submit(one) for one in new), return_exceptions=True)
        assert {type(one) for one in found} == {DatabaseUnavailable}
        assert time.monotonic() - began < _IN_TIME_SECONDS

        own_server.start()
        stored = await asyncio.gather(*(submissions.submit(one) for one in new))
    assert {one.kind for one in stored} == {SubmissionKind.CREATED}
    assert (await frail_store.reload(first)).status is TaskStatus.PENDING


async def test_a_server_killed_in_the_middle_of_a_transaction_undoes_it(
    frail_store: Store, own_server: Server
) -> None:
    kept = await frail_store.pending()

    async def work(connection: AsyncConnection) -> None:
        await connection.execute(update(task).values(failures=1))
        own_server.kill()
        await connection.execute(update(task).values(failures=2))

    with pytest.raises(DatabaseUnavailable):
        await frail_store.db.write(work)
    own_server.start()
    assert (await frail_store.task_row(kept)).failures == 0


async def test_a_frozen_server_is_told_in_time_and_goes_on_when_it_thaws(
    frail_store: Store, own_server: Server
) -> None:
    waiting = await frail_store.pending()
    own_server.freeze()
    try:
        began = time.monotonic()
        with pytest.raises(DatabaseUnavailable):
            await frail_store.set_task(waiting, failures=1)
        assert time.monotonic() - began < 2 * _IN_TIME_SECONDS
    finally:
        own_server.thaw()
    await asyncio.gather(*(frail_store.db.ping() for _ in range(8)))
