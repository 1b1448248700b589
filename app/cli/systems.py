"""`muster systems`."""

from __future__ import annotations

import asyncio
import base64

import click

from app.cli.example import ExampleCommand
from app.cli.installation import data_dir_option, installed_settings
from core.foundation import Foundation
from core.settings import Settings


@click.group("systems")
def command() -> None:
    """Show systems and their callback secrets."""


@command.command(
    "show", cls=ExampleCommand, examples=("muster systems show north-ranch", "muster systems show demo -q")
)
@click.argument("code")
@click.option("--quiet", "-q", is_flag=True, help="Print the current secret alone.")
@data_dir_option
def show(code: str, quiet: bool, data_dir: str | None) -> None:
    """Show a system's callback secret, which receivers verify callbacks with.

    Keep it to yourself: whoever has it can sign callbacks. While a secret is being changed there are
    two, the current one first.
    """
    secrets = asyncio.run(_secrets(installed_settings(data_dir), code))
    if quiet:
        click.echo(secrets[0])
        return
    click.echo(f"system           {code}")
    for secret in secrets:
        click.echo(f"callback secret  {secret}")


async def _secrets(settings: Settings, code: str) -> list[str]:
    async with Foundation.open(settings) as base:
        return [f"whsec_{base64.b64encode(secret).decode()}" for secret in await base.systems.secrets(code)]
