"""Runs migrations on the connection that `core.store.migrate` passes in."""

import warnings

from alembic import context

from core.store.tables import metadata

connection = context.config.attributes["connection"]
context.configure(
    connection=connection,
    target_metadata=metadata,
    # SQLite cannot alter a table in place; batch mode copies it.
    render_as_batch=connection.dialect.name == "sqlite",
    transaction_per_migration=False,
)
with warnings.catch_warnings():
    # MySQL has no name for a primary key and says so of the one of Alembic's own table.
    warnings.filterwarnings("ignore", message="Name '.*' ignored for PRIMARY key")
    with context.begin_transaction():
        context.run_migrations()
