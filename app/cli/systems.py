"""`muster systems`."""

from __future__ import annotations

import asyncio
import re
import secrets

import click

from app.auth import KEY_PREFIX, hash_of
from app.cli.example import ExampleCommand
from app.cli.installation import data_dir_option, installed_settings
from core.foundation import Foundation
from core.settings import Settings
from core.store.systems import SECRET_OVERLAP_SECONDS, add_key
from core.webhooks import written_secret

_CODE = re.compile(r"[A-Za-z0-9_-]{1,20}")


@click.group("systems")
def command() -> None:
    """Add systems, show and change their callback secrets."""


@command.command(
    "add", cls=ExampleCommand, examples=("muster systems add north-ranch", "muster systems add --operator")
)
@click.argument("code", required=False)
@click.option("--operator", is_flag=True, help="A key that sees every system, instead of one system's.")
@data_dir_option
def add(code: str | None, operator: bool, data_dir: str | None) -> None:
    """Add a system, or another key to one that is there, and print the new API key.

    The key is shown this once; only its hash is kept.
    """
    if (code is None) != operator or (code is not None and not _CODE.fullmatch(code)):
        raise click.UsageError("Name a system (1 to 20 of A-Z a-z 0-9 _ -), or use --operator.")
    key = asyncio.run(_add(installed_settings(data_dir), code))
    click.echo(f"system           {code or 'all (operator)'}")
    click.echo(f"API key          {key}")
    click.echo("Send it with every request: Authorization: Bearer <API key>")


async def _add(settings: Settings, code: str | None) -> str:
    key = KEY_PREFIX + secrets.token_urlsafe(32)
    async with Foundation.open(settings) as base:
        if code is not None:
            await base.systems.ensure(code)
        await add_key(
            base.db,
            (await base.ids.take())[0],
            system_code=code,
            scope="system" if code is not None else "admin",
            prefix=key[:12],
            key_sha256=hash_of(key),
        )
    return key


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
    found = asyncio.run(_secrets(installed_settings(data_dir), code))
    if quiet:
        click.echo(found[0])
        return
    click.echo(f"system           {code}")
    for secret in found:
        click.echo(f"callback secret  {secret}")


async def _secrets(settings: Settings, code: str) -> list[str]:
    async with Foundation.open(settings) as base:
        return [written_secret(secret) for secret in await base.systems.secrets(code)]


@command.command("rotate-secret", cls=ExampleCommand, examples=("muster systems rotate-secret north-ranch",))
@click.argument("code")
@data_dir_option
def rotate_secret(code: str, data_dir: str | None) -> None:
    """Give a system a new callback secret.

    For 24 hours callbacks are signed with both, so that receivers can change over without losing one.
    A second rotation within that time ends the first secret's: look with "muster systems show" first.
    """
    secret = asyncio.run(_rotate(installed_settings(data_dir), code))
    click.echo(f"system           {code}")
    click.echo(f"callback secret  {secret}")
    click.echo("The secret before it is good for another 24 hours.")


async def _rotate(settings: Settings, code: str) -> str:
    async with Foundation.open(settings) as base:
        return written_secret(await base.systems.rotate(code, overlap_seconds=SECRET_OVERLAP_SECONDS))
