"""`muster up`."""

from __future__ import annotations

import asyncio
import json
import shlex
import sys
from pathlib import Path

import click
from muster_client import Client, MusterClientError
from rich.console import Console

from app.cli.embedded.data_dir import DEFAULT_DATA_DIR, open_data_dir
from app.cli.embedded.service import Size, demo_photo, run_embedded
from app.cli.example import ExampleCommand
from app.cli.listening import open_listener
from core.logs import configure_logs
from core.settings import load_settings

_PATIENCE_SECONDS = 5


@click.command(
    "up",
    cls=ExampleCommand,
    examples=("muster up", "muster up --port 8080 --data-dir /srv/muster --workers 2"),
)
@click.option(
    "--port", default=8000, show_default=True, type=click.IntRange(0, 65535), help="0 = a free one."
)
@click.option("--data-dir", default=DEFAULT_DATA_DIR, show_default=True, help="Folder for all that is kept.")
@click.option("--workers", default=1, show_default=True, type=click.IntRange(1, 64), help="Worker processes.")
@click.option("--web", default=1, show_default=True, type=click.IntRange(1, 64), help="Web processes.")
def command(port: int, data_dir: str, workers: int, web: int) -> None:
    """Start the whole service on this machine.

    Valkey and SQLite keep everything in one folder; web and worker processes that die are started
    again; Ctrl-C lets them finish and stops all. It listens on 127.0.0.1 without authentication.
    When all is ready it prints its address and writes FOLDER/ready.json. Starting again finds every
    task as it was.
    """
    configure_logs(load_settings().log_level)
    folder = Path(data_dir)
    with open_data_dir(folder) as opened, open_listener("127.0.0.1", port) as listener:
        try:
            run_embedded(opened, listener, Size(web=web, workers=workers), lambda url: _greet(url, folder))
        except asyncio.CancelledError:
            click.echo("Stopped at once, on a second signal.", err=True)
            sys.exit(1)


def _greet(url: str, folder: Path) -> None:
    console = Console(highlight=False, soft_wrap=True)
    console.print(f"\n[bold green]Muster is ready:[/] [bold]{url}[/]   (kept in {folder}; Ctrl-C stops it)")
    console.print("Try it from another terminal:\n")
    click.echo(f"  {_curl_line(url)}\n")


def _curl_line(url: str) -> str:
    """A command that can be copied and works: it counts the cows of the demo photo if that is here."""
    photo = demo_photo()
    if photo is None:
        return f"curl -s {url}/v1/models"
    try:
        with Client(url, timeout_seconds=_PATIENCE_SECONDS) as muster:
            picture = muster.upload(photo).url
    except MusterClientError:
        return f"curl -s {url}/v1/models"
    task = {
        "business_id": "first",
        "system_code": "demo",
        "prompt": "COW",
        "cameras": [{"camera_id": "meadow", "image_url": picture}],
    }
    headers = "-H 'Content-Type: application/json' -H 'Prefer: wait=20'"
    return f"curl -s {url}/v1/tasks {headers} -d {shlex.quote(json.dumps(task))}"
