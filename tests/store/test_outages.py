"""A database that goes away is told in time, and comes back without a restart of ours."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import pytest
from sqlalchemy import text, update
from sqlalchemy.ext.asyncio import AsyncConnection

from core.domain.task import TaskStatus
from core.errors import DatabaseUnavailable
from core.settings import DatabaseSettings
from core.store.migrate import upgrade
from core.store.submissions import SubmissionKind
from core.store.tables import task
from core.watch import LATE_SECONDS
from tests.support.servers import PrivateMariadb, PrivatePostgresql
from tests.support.store import Store
from tests.support.worker_bench import until

Server = PrivateMariadb | PrivatePostgresql
_IN_TIME_SECONDS = 3.0
DEADLINE_SECONDS = 2.0


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
    # One that was used a moment ago is lent unasked: its reader is told, and the whole pool is new then.
    await asyncio.gather(*(frail_store.db.ping() for _ in range(4)), return_exceptions=True)
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


async def test_a_frozen_server_is_told_in_time_and_goes_on_when_it_thaws(own_server: Server) -> None:
    url = await own_server.create_database()
    await upgrade(DatabaseSettings(url=url))
    store = Store.open(url, pool_size=4)
    waiting = await store.pending()
    await asyncio.gather(*(store.db.ping() for _ in range(4)))
    own_server.freeze()
    try:
        # Far sooner than the time that one transaction may take, whether it waits for a connection or not.
        began = time.monotonic()
        found = await asyncio.gather(*(store.db.ping() for _ in range(20)), return_exceptions=True)
        assert {type(one) for one in found} == {DatabaseUnavailable}
        with pytest.raises(DatabaseUnavailable):
            await store.set_task(waiting, failures=1)
        assert time.monotonic() - began < DEADLINE_SECONDS
        began = time.monotonic()
        assert await _is_unavailable(store)
        assert time.monotonic() - began < LATE_SECONDS
    finally:
        own_server.thaw()
    await until(lambda: _answers(store), bool, limit_seconds=_IN_TIME_SECONDS)
    await asyncio.gather(*(store.db.ping() for _ in range(8)))
    assert (await store.task_row(waiting)).failures == 0
    await store.db.close()


async def test_a_statement_that_takes_long_is_let_be_while_the_server_lives(own_server: Server) -> None:
    store = Store.open(await own_server.create_database(), pool_size=1)
    is_mysql = store.db.dialect == "mysql"
    slow = text("SELECT SLEEP(2)" if is_mysql else "SELECT pg_sleep(2)")

    async def work(connection: AsyncConnection) -> int:
        await connection.execute(slow)
        return 7

    assert await store.db.write(work) == 7
    await store.db.close()


async def _answers(store: Store) -> bool:
    try:
        await store.db.ping()
    except DatabaseUnavailable:
        return False
    return True
