"""`muster queues`."""

from __future__ import annotations

import asyncio

import click

from app.cli.example import ExampleCommand
from app.cli.installation import data_dir_option, installed_settings
from core.domain.routing import QueueName
from core.foundation import Foundation
from core.settings import Settings
from core.store.queue_states import paused_queues

_NAME = click.argument("name", type=click.Choice([name.value for name in QueueName]))


@click.group("queues")
def command() -> None:
    """Show, pause and resume the queues."""


@command.command("show", cls=ExampleCommand, examples=("muster queues show",))
@data_dir_option
def show(data_dir: str | None) -> None:
    """Show which queues are paused."""
    paused = asyncio.run(_paused(installed_settings(data_dir)))
    for name in QueueName:
        click.echo(f"{name.value:<12} {'paused' if name in paused else 'goes on'}")


@command.command("pause", cls=ExampleCommand, examples=("muster queues pause delivery",))
@_NAME
@data_dir_option
def pause(name: str, data_dir: str | None) -> None:
    """Stop claiming from a queue.

    Submissions go on and what runs ends. The pause outlives restarts and the loss of Redis.
    """
    asyncio.run(_set_paused(installed_settings(data_dir), QueueName(name), paused=True))
    click.echo(f"Queue {name} is paused. Go on with: muster queues resume {name}")


@command.command("resume", cls=ExampleCommand, examples=("muster queues resume delivery",))
@_NAME
@data_dir_option
def resume(name: str, data_dir: str | None) -> None:
    """Claim from a queue again."""
    asyncio.run(_set_paused(installed_settings(data_dir), QueueName(name), paused=False))
    click.echo(f"Queue {name} goes on.")


async def _paused(settings: Settings) -> set[str]:
    async with Foundation.open(settings) as base:
        return await paused_queues(base.db)


async def _set_paused(settings: Settings, name: QueueName, *, paused: bool) -> None:
    async with Foundation.open(settings) as base:
        await base.plan.set_paused(name, paused=paused)
