"""Times are the same on every database, to the microsecond."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from sqlalchemy import ColumnElement, Text, cast, insert, literal, select
from sqlalchemy.dialects import sqlite
from sqlalchemy.exc import StatementError

from core.store.tables import queue_state, task
from core.store.types import UtcDateTime, server_now
from tests.support.store import Store

_MOMENTS = [
    datetime(2026, 11, 23, 1, 2, 3, 456789, tzinfo=UTC),
    datetime(2026, 11, 23, 1, 2, 3, 1, tzinfo=UTC),
    datetime(2026, 11, 23, 1, 2, 3, tzinfo=UTC),
    datetime(1970, 1, 1, 0, 0, 0, 999999, tzinfo=UTC),
    datetime(2026, 3, 29, 1, 30, tzinfo=timezone(timedelta(hours=-9, minutes=-30))),
]


async def _scalar(store: Store, expression: ColumnElement[Any], **where: Any) -> Any:
    async with store.db.read() as connection:
        return (await connection.execute(select(expression).filter_by(**where))).scalar_one()


@pytest.mark.parametrize("moment", _MOMENTS, ids=str)
async def test_a_time_comes_back_to_the_microsecond_and_in_utc(store: Store, moment: datetime) -> None:
    await store.run(insert(queue_state).values(queue="solo", paused=False, scanned_at=moment))
    found = await _scalar(store, queue_state.c.scanned_at)
    assert found == moment
    assert found.tzinfo is UTC


async def test_an_absent_time_stays_absent(store: Store) -> None:
    await store.run(insert(queue_state).values(queue="solo", paused=False, scanned_at=None))
    assert await _scalar(store, queue_state.c.scanned_at) is None


async def test_a_time_without_a_zone_is_refused(store: Store) -> None:
    bare = datetime.now(UTC).replace(tzinfo=None)
    with pytest.raises(StatementError, match="without a zone"):
        await store.run(insert(queue_state).values(queue="solo", paused=False, scanned_at=bare))


@pytest.mark.parametrize("seconds", [0.0, 1.5, 0.000_25, 90.123, -3.0, -0.75, 86_400.0, 90 * 86_400.0])
async def test_the_servers_clock_is_moved_by_fractions_of_a_second(store: Store, seconds: float) -> None:
    async with store.db.read() as connection:
        row = (await connection.execute(select(server_now(), server_now(seconds)))).one()
    # SQLite's clock has milliseconds.
    assert abs((row[1] - row[0]).total_seconds() - seconds) <= (
        0.001 if store.db.dialect == "sqlite" else 1e-6
    )


async def test_the_servers_clock_is_in_utc_whatever_the_zone_of_the_session(store: Store) -> None:
    found = await store.db.now()
    assert abs(found - datetime.now(UTC)) < timedelta(seconds=5)


async def test_the_servers_clock_is_moved_by_a_column(store: Store) -> None:
    stored = await store.pending(timeout_seconds=3600)
    async with store.db.read() as connection:
        row = (
            await connection.execute(
                select(server_now(), server_now(task.c.timeout_seconds)).where(task.c.id == stored.id)
            )
        ).one()
    assert row[1] - row[0] == timedelta(seconds=3600)


async def test_the_servers_clock_stands_still_within_a_statement_and_moves_between_two(store: Store) -> None:
    async with store.db.read() as connection:
        row = (await connection.execute(select(server_now(), server_now()))).one()
        while (later := (await connection.execute(select(server_now()))).scalar_one()) == row[0]:
            pass
    assert row[0] == row[1]
    assert later > row[0]


async def test_a_time_compares_with_the_servers_clock(store: Store) -> None:
    at = await store.db.now()
    before, after = at - timedelta(microseconds=1), at + timedelta(minutes=1)
    assert await _scalar(store, literal(before, UtcDateTime()) < server_now())
    assert await _scalar(store, literal(after, UtcDateTime()) > server_now())


async def test_sqlite_keeps_times_as_text_of_one_width(tmp_path: Any) -> None:
    store = Store.open(f"sqlite+aiosqlite:///{tmp_path / 'empty.db'}")
    moments = [datetime(1, 2, 3, tzinfo=UTC), *_MOMENTS, datetime(9999, 12, 31, 23, 59, 59, 5, tzinfo=UTC)]
    try:
        bind = UtcDateTime().bind_processor(sqlite.dialect())
        assert bind is not None
        texts = [bind(moment) for moment in sorted(moments)]
        texts.append(await _scalar(store, cast(server_now(1e9), Text)))
    finally:
        await store.db.close()
    assert {len(text) for text in texts} == {26}
    assert sorted(texts[:-1]) == texts[:-1]
