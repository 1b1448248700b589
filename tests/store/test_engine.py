"""Transactions: run again after a deadlock, one after the other on SQLite, sound under all of this."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from sqlalchemy import func, select, text, update
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from core.errors import DatabaseUnavailable
from core.settings import DatabaseSettings
from core.store.engine import Database
from core.store.tables import queue_state, task
from tests.support.store import Store


async def _add_queue(connection: AsyncConnection, name: str) -> None:
    await connection.execute(queue_state.insert().values(queue=name, paused=False))


async def _pause(connection: AsyncConnection, name: str, *, paused: bool = True) -> None:
    await connection.execute(update(queue_state).where(queue_state.c.queue == name).values(paused=paused))


async def test_a_transaction_that_fails_leaves_nothing(store: Store) -> None:
    async def work(connection: AsyncConnection) -> None:
        await _add_queue(connection, "solo")
        await _add_queue(connection, "solo")

    with pytest.raises(IntegrityError):
        await store.db.write(work)
    assert await store.count("queue_state") == 0


async def test_a_caller_that_leaves_takes_its_transaction_along(store: Store) -> None:
    inserted, never = asyncio.Event(), asyncio.Event()

    async def work(connection: AsyncConnection) -> None:
        await _add_queue(connection, "solo")
        inserted.set()
        await never.wait()

    writing = asyncio.ensure_future(store.db.write(work))
    await inserted.wait()
    writing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await writing
    assert await store.count("queue_state") == 0
    await store.run(queue_state.insert().values(queue="solo", paused=False))


async def test_a_transaction_that_takes_too_long_is_given_up(store_url: str, store: Store) -> None:
    hasty = Database(DatabaseSettings(url=store_url, statement_timeout_seconds=0.3))

    async def work(connection: AsyncConnection) -> None:
        await _add_queue(connection, "solo")
        await asyncio.Event().wait()

    try:
        with pytest.raises(DatabaseUnavailable):
            await hasty.write(work)
        await hasty.ping()
    finally:
        await hasty.close()
    assert await store.count("queue_state") == 0


async def test_two_transactions_in_each_others_way_both_succeed(store: Store, other_store: Store) -> None:
    for name in ("a", "b"):
        await store.run(queue_state.insert().values(queue=name, paused=False))
    both_hold_one = asyncio.Barrier(2)
    runs = 0

    async def cross(of: Store, first: str, second: str) -> None:
        async def work(connection: AsyncConnection) -> None:
            nonlocal runs
            runs += 1
            is_first_run = runs <= 2
            await _pause(connection, first)
            if is_first_run and of.db.dialect != "sqlite":  # where the second is not let in
                await both_hold_one.wait()
            await _pause(connection, second)

        await of.db.write(work)

    async with asyncio.timeout(8):
        await asyncio.gather(cross(store, "a", "b"), cross(other_store, "b", "a"))
    assert runs == (2 if store.db.dialect == "sqlite" else 3)
    async with store.db.read() as connection:
        paused = (await connection.execute(select(queue_state.c.paused))).scalars()
        assert list(paused) == [True, True]


async def test_two_writers_wait_for_each_other_and_lose_nothing(store: Store, other_store: Store) -> None:
    counted = await store.pending()

    async def add(of: Store) -> None:
        async def work(connection: AsyncConnection) -> None:
            # Reads first: without BEGIN IMMEDIATE a SQLite transaction could not be promoted to a writer.
            await connection.execute(select(func.count()).select_from(task))
            await connection.execute(update(task).values(failures=task.c.failures + 1))

        await of.db.write(work)

    await asyncio.gather(*(add(of) for of in (store, other_store) for _ in range(20)))
    assert (await store.task_row(counted)).failures == 40


async def test_readers_go_on_while_a_writer_is_at_work(store: Store) -> None:
    async def work(connection: AsyncConnection) -> int:
        await _add_queue(connection, "solo")
        return await store.count("queue_state")

    assert await store.db.write(work) == 0
    assert await store.count("queue_state") == 1


async def test_more_readers_than_connections_take_turns(store_url: str) -> None:
    narrow = Database(DatabaseSettings(url=store_url, pool_size=2))
    try:
        await asyncio.gather(*(narrow.ping() for _ in range(50)))
    finally:
        await narrow.close()


async def test_waiting_for_a_connection_has_an_end(store_url: str) -> None:
    narrow = Database(DatabaseSettings(url=store_url, pool_size=1, pool_timeout_seconds=0.1))
    try:
        async with narrow.read():
            with pytest.raises(DatabaseUnavailable):
                await narrow.ping()
        await narrow.ping()
    finally:
        await narrow.close()


@pytest.mark.parametrize(
    "wrong",
    [
        {"prompt": "p" * 41},
        {"attempt": 2**40},
        {"metadata": {"score": float("nan")}},
        {"prompt": "\ud800"},
        {"timeout_seconds": "many"},
    ],
    ids=["too long", "too large", "not JSON", "not text", "not a number"],
)
async def test_a_wrong_value_is_not_taken_for_an_outage(store: Store, wrong: dict[str, object]) -> None:
    stored = await store.pending()
    is_lenient = store.db.dialect == "sqlite" and "\ud800" not in str(wrong)
    try:
        await store.set_task(stored, **wrong)
    except (DBAPIError, ValueError):
        pass
    else:
        assert is_lenient
    await store.db.ping()


async def test_a_database_that_is_not_there_is_unavailable(tmp_path: Path) -> None:
    urls = (
        "mysql+asyncmy://muster:secret@127.0.0.1:1/muster",
        f"mysql+asyncmy://muster:secret@localhost/muster?unix_socket={tmp_path}/none.sock",
        "postgresql+asyncpg://muster:secret@127.0.0.1:1/muster",
        f"postgresql+asyncpg://muster:secret@/muster?host={tmp_path}",
    )
    for url in urls:
        database = Database(DatabaseSettings(url=url))
        async with asyncio.timeout(3):
            with pytest.raises(DatabaseUnavailable):
                await database.ping()
        await database.close()


async def test_sqlite_keeps_what_it_accepted_through_a_power_cut(tmp_path: Path) -> None:
    store = Store.open(f"sqlite+aiosqlite:///{tmp_path / 'new' / 'folder' / 'muster.db'}")
    try:
        for of in ("journal_mode", "synchronous", "busy_timeout"):
            async with store.db.read() as connection:
                found = (await connection.execute(text(f"PRAGMA {of}"))).scalar_one()
            assert found == {"journal_mode": "wal", "synchronous": 2, "busy_timeout": 5000}[of]
    finally:
        await store.db.close()
