"""`muster migrate`."""

from __future__ import annotations

import asyncio

import click

from app.cli.example import ExampleCommand
from app.cli.installation import data_dir_option, installed_settings
from core.logs import configure_logs
from core.store.migrate import upgrade


@click.command(
    "migrate",
    cls=ExampleCommand,
    examples=(
        "MUSTER_DATABASE_URL=mysql+asyncmy://muster:…@db/muster muster migrate",
        "muster migrate --data-dir .muster",
    ),
)
@data_dir_option
def command(data_dir: str | None) -> None:
    """Bring the database's schema up to date.

    Safe to run again, and by several at once. `muster up` does it by itself.
    """
    settings = installed_settings(data_dir)
    configure_logs(settings.log_level)
    asyncio.run(upgrade(settings.database))
    click.echo("The schema is up to date.")
