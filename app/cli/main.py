"""The `muster` command. Commands are imported when they are called, so that help is there at once."""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Final

import click

from app.cli.example import write_examples
from app.cli.exits import FAILED, MISUSED
from core import __version__
from core.errors import MusterError, SettingsError

COMMANDS: Final = {
    "up": ("app.cli.up", "Start the whole service on this machine."),
    "submit": ("app.cli.submit", "Submit pictures and, if wished, watch them being counted."),
    "web": ("app.cli.web", "Serve the HTTP interface."),
    "worker": ("app.cli.worker", "Run one worker: fetch, count, call back."),
    "migrate": ("app.cli.migrate", "Bring the database's schema up to date."),
    "models": ("app.cli.models", "List the models and what each can be asked for."),
    "systems": ("app.cli.systems", "Add systems, show and change their callback secrets."),
    "queues": ("app.cli.queues", "Show, pause and resume the queues."),
    "settings": ("app.cli.settings", "Print every setting with its default and meaning."),
    "doctor": ("app.cli.doctor", "Check database, Redis, models, media and clock."),
    "rebuild-queue": ("app.cli.rebuild_queue", "Put the whole queue back into Redis from the database."),
}
"""Name -> module with a `command`, and its line in the help."""


_FIRST_STEPS = (
    "muster up                                        # in one terminal",
    "muster submit photo.jpg --prompt COW --watch     # in another",
)


class LazyGroup(click.Group):
    """A group that imports a command's module when the command is asked for."""

    def list_commands(self, _ctx: click.Context) -> list[str]:
        """The names, in the order in which one needs them."""
        return list(COMMANDS)

    def get_command(self, _ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import one command."""
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = import_module(COMMANDS[cmd_name][0]).command
        return command

    def format_commands(self, _ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands without importing any."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in COMMANDS.items()])

    def format_epilog(self, _ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Say how to begin."""
        write_examples(formatter, _FIRST_STEPS)


@click.group(
    cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}
)
@click.version_option(__version__, prog_name="muster")
def cli() -> None:
    """Count animals in camera snapshots."""


def main() -> None:
    """Run the command line; what is wrong is said in one line, without a traceback."""
    try:
        cli(prog_name="muster")
    except MusterError as error:
        click.echo(f"muster: {error.message}", err=True)
        sys.exit(MISUSED if isinstance(error, SettingsError) else FAILED)
