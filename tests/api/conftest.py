"""A web process over its own SQLite file, a private Valkey and a folder of pictures."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from core.settings import DatabaseSettings, Settings
from core.store.migrate import upgrade
from tests.support.api import Api, changed, open_api, web_settings
from tests.support.keys import add_keys
from tests.support.store import Store
from tests.support.valkey import PrivateValkey


@pytest.fixture(scope="session")
def shared_valkey() -> Iterator[PrivateValkey]:
    """Serve Valkey to all of these tests."""
    with PrivateValkey() as server:
        yield server


@pytest.fixture
def valkey(shared_valkey: PrivateValkey) -> PrivateValkey:
    """Give the server, empty."""
    shared_valkey.flush()
    return shared_valkey


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def migrated_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a database file to copy."""
    path = tmp_path_factory.mktemp("database") / "muster.db"
    await upgrade(DatabaseSettings(url=f"sqlite+aiosqlite:///{path}"))
    return path


@pytest.fixture
def database_url(migrated_file: Path, tmp_path: Path) -> str:
    """Give the url of a migrated database without rows."""
    shutil.copy(migrated_file, tmp_path / "muster.db")
    return f"sqlite+aiosqlite:///{tmp_path / 'muster.db'}"


@pytest.fixture
def settings(database_url: str, valkey: PrivateValkey, tmp_path: Path) -> Settings:
    """Give the settings of a web process without authentication."""
    return web_settings(database_url, valkey.url, tmp_path / "media")


@pytest.fixture
async def api(settings: Settings) -> AsyncIterator[Api]:
    """Give a web process without authentication."""
    async with open_api(settings) as started:
        yield started


@pytest.fixture
async def store(database_url: str) -> AsyncIterator[Store]:
    """Give the same database as another process sees it."""
    opened = Store.open(database_url)
    yield opened
    await opened.db.close()


@pytest.fixture
async def closed(settings: Settings, store: Store) -> AsyncIterator[Api]:
    """Give a web process with authentication and keys of two systems and the operator."""
    async with open_api(changed(settings, auth="on")) as started:
        await add_keys(started, store)
        yield started
