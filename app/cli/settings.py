"""`muster settings`."""

from __future__ import annotations

import click
from rich.console import Console
from rich.table import Table

from app.cli.example import ExampleCommand
from app.cli.settings_table import as_markdown, setting_groups


@click.command(
    "settings", cls=ExampleCommand, examples=("muster settings", "muster settings --markdown > settings.md")
)
@click.option("--markdown", is_flag=True, help="As Markdown tables, for documentation.")
def command(markdown: bool) -> None:
    """Print every setting with its default and meaning.

    Settings are environment variables; they are checked when a process starts. Values in force are
    not shown, for some are secrets.
    """
    groups = setting_groups()
    if markdown:
        click.echo(as_markdown(groups), nl=False)
        return
    console = Console()
    for group in groups:
        table = Table(title=group.title, title_justify="left", expand=False)
        for heading in ("variable", "default", "meaning"):
            table.add_column(heading, overflow="fold")
        for row in group.rows:
            table.add_row(row.variable, row.default, row.meaning)
        console.print(table)
