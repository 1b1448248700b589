"""`muster rebuild-queue`."""

from __future__ import annotations

import asyncio

import click

from app.cli.example import ExampleCommand
from app.cli.installation import data_dir_option, installed_settings
from core.foundation import Foundation
from core.plan import Repairs
from core.settings import Settings


@click.command("rebuild-queue", cls=ExampleCommand, examples=("muster rebuild-queue",))
@data_dir_option
def command(data_dir: str | None) -> None:
    """Put the whole queue back into Redis from the database.

    Workers do this by themselves when Redis was emptied. It is safe at any time: nothing is queued
    twice, and work goes on meanwhile.
    """
    found = asyncio.run(_rebuild(installed_settings(data_dir)))
    click.echo(f"Put back: {found.tasks} tasks, {found.deliveries} callbacks. The rest was there.")


async def _rebuild(settings: Settings) -> Repairs:
    async with Foundation.open(settings) as base:
        return await base.plan.rebuild()
