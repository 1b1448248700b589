"""The `muster` command itself: help at once, and true."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module

import click
import pytest
from click.testing import CliRunner

from app.cli.main import COMMANDS, cli


def test_help_imports_none_of_the_commands() -> None:
    program = (
        "import sys; from click.testing import CliRunner; from app.cli.main import cli\n"
        "assert CliRunner().invoke(cli, ['--help']).exit_code == 0\n"
        "print(sorted({name.split('.')[0] for name in sys.modules} & "
        "{'sqlalchemy', 'redis', 'quart', 'httpx', 'alembic', 'numpy', 'rich', 'pydantic'}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=True
    )
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("name", COMMANDS)
def test_the_line_in_the_list_is_the_commands_own(name: str) -> None:
    module, line = COMMANDS[name]
    command: click.Command = import_module(module).command
    assert (command.name, command.get_short_help_str(200)) == (name, line)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself(name: str) -> None:
    answer = CliRunner().invoke(cli, [name, "--help"], prog_name="muster")
    assert answer.exit_code == 0, answer.output
    assert f"Usage: muster {name}" in answer.output


def test_an_unknown_command_is_wrong_usage() -> None:
    answer = CliRunner().invoke(cli, ["mustre"])
    assert answer.exit_code == 2
    assert "No such command" in answer.output


@pytest.mark.parametrize("area", ["0,0 1,1", "a,b c,d e,f", "0 0 1 1 2 2", ""])
def test_an_area_that_is_none_is_explained(area: str) -> None:
    answer = CliRunner().invoke(cli, ["submit", "x.jpg", "--prompt", "COW", "--area", area])
    assert answer.exit_code == 2
    assert "at least three points" in answer.output
