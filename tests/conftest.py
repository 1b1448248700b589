"""Fixtures for every room: private database servers and a fresh database on each."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Generator, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.support.availability import REQUIRE_ALL, everything_is_required, unavailable
from tests.support.programs import ProgramMissingError
from tests.support.servers import DatabaseServer, GivenServer, PrivateMariadb, PrivatePostgresql

_GIVEN_MARIADB = "MUSTER_TEST_MARIADB_URL"
_GIVEN_POSTGRESQL = "MUSTER_TEST_POSTGRESQL_URL"
_EXAMPLES = "MUSTER_HYPOTHESIS_EXAMPLES"


def pytest_configure() -> None:
    """Forget the settings of the developer's own installation."""
    for name in [name for name in os.environ if name.startswith("MUSTER_")]:
        if name not in (REQUIRE_ALL, _GIVEN_MARIADB, _GIVEN_POSTGRESQL, _EXAMPLES):
            del os.environ[name]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Turn every skip into a failure where everything is required."""
    report = yield
    if report.skipped and not hasattr(report, "wasxfail") and everything_is_required():
        report.outcome = "failed"
        report.longrepr = f"skipped, but {REQUIRE_ALL} is set: {report.longrepr}"
    return report


def _serve(server_class: type[PrivateMariadb | PrivatePostgresql], given: str) -> Iterator[DatabaseServer]:
    if url := os.environ.get(given):
        yield GivenServer(url)
        return
    with ExitStack() as stack:
        try:
            server = stack.enter_context(server_class())
        except ProgramMissingError as error:
            unavailable(str(error))
        yield server


@pytest.fixture(scope="session")
def mariadb() -> Iterator[DatabaseServer]:
    """Serve MariaDB for the whole run."""
    yield from _serve(PrivateMariadb, _GIVEN_MARIADB)


@pytest.fixture(scope="session")
def postgresql() -> Iterator[DatabaseServer]:
    """Serve PostgreSQL for the whole run."""
    yield from _serve(PrivatePostgresql, _GIVEN_POSTGRESQL)


@pytest.fixture
async def mariadb_url(mariadb: DatabaseServer) -> AsyncIterator[str]:
    """Give the url of an empty MariaDB database."""
    url = await mariadb.create_database()
    yield url
    await mariadb.drop_database(url)


@pytest.fixture
async def postgresql_url(postgresql: DatabaseServer) -> AsyncIterator[str]:
    """Give the url of an empty PostgreSQL database."""
    url = await postgresql.create_database()
    yield url
    await postgresql.drop_database(url)


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    """Give the url of an empty SQLite file."""
    return f"sqlite+aiosqlite:///{tmp_path / 'muster.db'}"
