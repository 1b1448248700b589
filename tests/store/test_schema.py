"""Revision 0001 makes the tables that the code believes in, and unmakes them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection, inspect

from core.settings import DatabaseSettings
from core.store.engine import Database
from core.store.migrate import downgrade, is_migrated, upgrade
from core.store.tables import metadata


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """Open an empty database."""
    opened = Database(DatabaseSettings(url=database_url))
    yield opened
    await opened.close()


async def _table_names(database: Database) -> set[str]:
    async with database.read() as connection:
        return set(await connection.run_sync(lambda sync: inspect(sync).get_table_names()))


def _differences(connection: Connection) -> list[Any]:
    context = MigrationContext.configure(connection, opts={"compare_server_default": True})
    return list(compare_metadata(context, metadata))


def _without_comment(connection: Connection) -> list[str]:
    schema = inspect(connection)
    bare = [name for name in metadata.tables if not schema.get_table_comment(name)["text"]]
    columns = ((name, column) for name in metadata.tables for column in schema.get_columns(name))
    return bare + [f"{name}.{column['name']}" for name, column in columns if not column["comment"]]


async def test_the_tables_go_up_and_down_and_up_again(database: Database, database_url: str) -> None:
    settings = DatabaseSettings(url=database_url)
    assert not await is_migrated(database)

    await upgrade(settings)
    assert await _table_names(database) == {*metadata.tables, "alembic_version"}
    assert await is_migrated(database)

    await downgrade(settings, "base")
    assert await _table_names(database) == {"alembic_version"}
    assert not await is_migrated(database)

    await upgrade(settings)
    assert await is_migrated(database)
    await upgrade(settings)


async def test_the_migrated_schema_is_the_one_in_the_code(database: Database, database_url: str) -> None:
    await upgrade(DatabaseSettings(url=database_url))
    async with database.read() as connection:
        assert await connection.run_sync(_differences) == []


async def test_every_table_and_column_says_what_it_is_for(database: Database, database_url: str) -> None:
    await upgrade(DatabaseSettings(url=database_url))
    if database.dialect == "sqlite":
        assert [c for t in metadata.tables.values() for c in t.columns if not c.comment] == []
        return
    async with database.read() as connection:
        assert await connection.run_sync(_without_comment) == []
