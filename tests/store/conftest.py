"""Run every store test on every database."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from core.settings import DatabaseSettings
from core.store.migrate import upgrade
from core.store.tables import metadata
from tests.support.availability import unavailable
from tests.support.programs import ProgramMissingError
from tests.support.servers import DatabaseServer, PrivateMariadb, PrivatePostgresql
from tests.support.store import Store

_EACH = [
    "sqlite",
    pytest.param("mariadb", marks=pytest.mark.mariadb),
    pytest.param("postgresql", marks=pytest.mark.postgresql),
]


@pytest.fixture(params=_EACH)
def database_url(request: pytest.FixtureRequest) -> str:
    """Give the url of an empty database, on each of the three in turn."""
    url: str = request.getfixturevalue(f"{request.param}_url")
    return url


async def _migrated(server: DatabaseServer) -> AsyncIterator[str]:
    url = await server.create_database()
    await upgrade(DatabaseSettings(url=url))
    yield url
    await server.drop_database(url)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def migrated_mariadb(mariadb: DatabaseServer) -> AsyncIterator[str]:
    """Give the url of a MariaDB database with all tables, shared by the whole run."""
    async for url in _migrated(mariadb):
        yield url


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def migrated_postgresql(postgresql: DatabaseServer) -> AsyncIterator[str]:
    """Give the url of a PostgreSQL database with all tables, shared by the whole run."""
    async for url in _migrated(postgresql):
        yield url


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def migrated_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a SQLite file with all tables, to be copied."""
    path = tmp_path_factory.mktemp("template") / "muster.db"
    await upgrade(DatabaseSettings(url=f"sqlite+aiosqlite:///{path}"))
    return path


@pytest.fixture(params=_EACH)
def store_url(request: pytest.FixtureRequest, sqlite_url: str) -> str:
    """Give the url of a migrated database; the tables of a server may hold another test's rows."""
    migrated = request.getfixturevalue(f"migrated_{request.param}")
    if isinstance(migrated, Path):
        shutil.copy(migrated, sqlite_url.removeprefix("sqlite+aiosqlite:///"))
        return sqlite_url
    return str(migrated)


@pytest.fixture
async def store(store_url: str) -> AsyncIterator[Store]:
    """Give a store with empty tables, on each of the three databases in turn."""
    opened = Store.open(store_url)
    await opened.run(*(table.delete() for table in metadata.tables.values()))
    yield opened
    await opened.db.close()


@pytest.fixture
async def other_store(store_url: str) -> AsyncIterator[Store]:
    """Give the same database as another process sees it; for use beside `store`."""
    opened = Store.open(store_url)
    yield opened
    await opened.db.close()


@pytest.fixture(
    params=[
        pytest.param(PrivateMariadb, marks=pytest.mark.mariadb),
        pytest.param(PrivatePostgresql, marks=pytest.mark.postgresql),
    ]
)
def own_server(request: pytest.FixtureRequest) -> Iterator[PrivateMariadb | PrivatePostgresql]:
    """Serve a database for one test, which may kill it."""
    server_class: type[PrivateMariadb | PrivatePostgresql] = request.param
    try:
        server = server_class(durable=False)
    except ProgramMissingError as error:
        unavailable(str(error))
    with server:
        yield server
