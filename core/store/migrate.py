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
    """Whether the schema has all that this code needs.

    A revision that this code does not know is of a later release, whose migrations take nothing away
    that the release before it needs: old and new processes run side by side.
    """
    async with database.read() as connection:
        current = await connection.run_sync(
            lambda sync: MigrationContext.configure(sync).get_current_revision()
        )
    scripts = ScriptDirectory.from_config(_config())
    known = {script.revision for script in scripts.walk_revisions()}
    return current == scripts.get_current_head() or (current is not None and current not in known)


async def _run(settings: DatabaseSettings, step: Callable[[Connection], None]) -> None:
    # Creating indices of a large table takes longer than any statement of the service may.
    database = Database(settings.model_copy(update={"statement_timeout_seconds": 3600.0}))
    try:
        await database.write(lambda connection: connection.run_sync(step))
    finally:
        await database.close()
