"""`muster worker`."""

from __future__ import annotations

import os
import sys

import click

from app.cli.example import ExampleCommand


@click.command(
    "worker", cls=ExampleCommand, examples=("muster worker", "MUSTER_WORKER_SLOTS=8 muster worker")
)
def command() -> None:
    """Run one worker: fetch, count, call back.

    SIGTERM drains it: it claims nothing more, finishes what it holds within
    MUSTER_WORKER_DRAIN_SECONDS and hands the rest back. Start as many as there are machines.
    """
    # The two doors do not know each other: this process becomes the worker's.
    os.execv(sys.executable, [sys.executable, "-P", "-m", "worker"])
