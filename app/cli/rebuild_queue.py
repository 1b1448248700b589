"""`muster rebuild-queue`."""

from __future__ import annotations

import asyncio

import click

from app.cli.example import ExampleCommand
from app.cli.installation import data_dir_option, installed_settings
from core.foundation import Foundation
from core.repair import Repairs
from core.settings import Settings


@click.command("rebuild-queue", cls=ExampleCommand, examples=("muster rebuild-queue",))
@data_dir_option
def command(data_dir: str | None) -> None:
    """Put the whole queue back into Redis from the database.

    What does not belong there is taken out too. Workers do this by themselves when Redis was
    emptied or rolled back. It is safe at any time: nothing is queued twice, and work goes on meanwhile.
    """
    put_back, compared = asyncio.run(_rebuild(installed_settings(data_dir)))
    click.echo(f"Put back: {put_back.tasks} tasks, {put_back.deliveries} callbacks. The rest was there.")
    if kinds := compared.by_kind():
        click.echo(
            "Put right: " + ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items())) + "."
        )


async def _rebuild(settings: Settings) -> tuple[Repairs, Repairs]:
    async with Foundation.open(settings) as base:
        return await base.plan.rebuild(), await base.plan.sweep()
