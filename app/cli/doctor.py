"""`muster doctor`."""

from __future__ import annotations

import asyncio
import sys

import click
from rich.console import Console
from rich.markup import escape

from app.cli.checks import Finding, Health, examine
from app.cli.example import ExampleCommand
from app.cli.installation import data_dir_option, installed_settings
from core.settings import Settings

_MARKS = {
    Health.GOOD: "[green]ok  [/]",
    Health.DOUBTFUL: "[yellow]hm  [/]",
    Health.BAD: "[bold red]BAD [/]",
}


@click.command(
    "doctor", cls=ExampleCommand, examples=("muster doctor", "muster doctor --data-dir /srv/muster")
)
@data_dir_option
def command(data_dir: str | None) -> None:
    """Check database, Redis, models, media and clock.

    Says of each what is wrong and what to do. Exit status 0 when nothing is bad, else 1.
    """
    findings = asyncio.run(_examine(installed_settings(data_dir)))
    sys.exit(1 if any(finding.health is Health.BAD for finding in findings) else 0)


async def _examine(settings: Settings) -> list[Finding]:
    console = Console(highlight=False, soft_wrap=True)
    findings = []
    async for finding in examine(settings):
        findings.append(finding)
        console.print(f"{_MARKS[finding.health]} {finding.subject:<18} {escape(finding.detail)}")
        if finding.remedy:
            console.print(f"     {'':<18} [bold]->[/] {escape(finding.remedy)}")
    return findings
