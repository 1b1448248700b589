"""Bring the schema of a database to a revision, through Alembic."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

from core.settings import DatabaseSettings
from core.store.engine import Database

_SCRIPTS = Path(__file__).resolve().parents[2] / "alembic"


def _config(connection: Connection | None = None) -> Config:
    config = Config()
    config.set_main_option("script_location", str(_SCRIPTS))
    config.attributes["connection"] = connection
    return config


async def upgrade(settings: DatabaseSettings, revision: str = "head") -> None:
    """Move the schema up to `revision`; raises DatabaseUnavailable."""
    await _run(settings, lambda connection: command.upgrade(_config(connection), revision))


async def downgrade(settings: DatabaseSettings, revision: str) -> None:
    """Move the schema down to `revision`; raises DatabaseUnavailable."""
    await _run(settings, lambda connection: command.downgrade(_config(connection), revision))


async def is_migrated(database: Database) -> bool:
    """Whether the schema is the one that this code needs."""
    async with database.read() as connection:
        current = await connection.run_sync(
            lambda sync: MigrationContext.configure(sync).get_current_revision()
        )
    return current == ScriptDirectory.from_config(_config()).get_current_head()


async def _run(settings: DatabaseSettings, step: Callable[[Connection], None]) -> None:
    # Creating indices of a large table takes longer than any statement of the service may.
    database = Database(settings.model_copy(update={"statement_timeout_seconds": 3600.0}))
    try:
        await database.write(lambda connection: connection.run_sync(step))
    finally:
        await database.close()
