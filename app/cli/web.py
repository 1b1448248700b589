"""`muster web`."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from pathlib import Path
from typing import NoReturn

import click
import structlog

from app.cli.embedded.programs import web_command, web_program
from app.cli.example import ExampleCommand
from app.cli.listening import open_listener, open_unix_listener, refuse_open_door, url_of
from app.cli.serving import serve
from app.cli.supervisor import Keeper
from core.logs import configure_logs
from core.settings import environment_with, load_settings

log = structlog.get_logger()


@click.command(
    "web",
    cls=ExampleCommand,
    examples=("muster web --host 0.0.0.0 --port 8000", "muster web --uds /run/muster/web.sock --web 2"),
)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port", default=8000, show_default=True, type=click.IntRange(0, 65535), help="0 = a free one."
)
@click.option("--uds", metavar="PATH", help="Listen on a unix socket instead.")
@click.option("--web", "number", default=1, show_default=True, type=click.IntRange(1, 64), help="Processes.")
@click.option("--fd", type=int, hidden=True)
@click.option("--ready-fd", type=int, hidden=True)
def command(host: str, port: int, uds: str | None, number: int, fd: int | None, ready_fd: int | None) -> None:
    """Serve the HTTP interface.

    Without authentication (MUSTER_AUTH=off) it listens on loopback only. SIGTERM lets requests
    under way finish. With several processes SIGHUP replaces one after the other, so that a new
    release is taken up without a request refused.
    """
    settings = load_settings()
    if fd is not None:
        serve(settings, socket.socket(fileno=fd), ready=ready_fd)
        return
    if uds is None:
        refuse_open_door(settings, host)
    listener = open_listener(host, port) if uds is None else open_unix_listener(Path(uds))
    public_url = settings.public_url or url_of(listener)
    environment = environment_with({"MUSTER_PUBLIC_URL": public_url})
    if number == 1:
        _become_web_process(listener, environment)
    configure_logs(settings.log_level)
    with listener:
        asyncio.run(_keep(listener, number, environment))


def _become_web_process(listener: socket.socket, environment: dict[str, str]) -> NoReturn:
    """Go on as the web process itself, which needs nobody to keep it."""
    listener.set_inheritable(True)
    arguments = web_command(listener.fileno())
    os.execve(arguments[0], arguments, environment)


async def _keep(listener: socket.socket, number: int, environment: dict[str, str]) -> None:
    """Keep the web processes running until a signal says stop; SIGHUP replaces them one by one."""
    keepers = [
        Keeper(web_program(f"web-{each}", environment, listener.fileno())) for each in range(1, number + 1)
    ]

    def stop() -> None:
        for keeper in keepers:
            keeper.stop()

    loop = asyncio.get_running_loop()
    for stop_signal in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(stop_signal, stop)
    asked = asyncio.Event()
    loop.add_signal_handler(signal.SIGHUP, asked.set)
    async with asyncio.TaskGroup() as group:
        running = [group.create_task(keeper.run()) for keeper in keepers]
        renewing = group.create_task(_renew_when_asked(keepers, asked))
        await asyncio.wait(running)
        renewing.cancel()


async def _renew_when_asked(keepers: list[Keeper], asked: asyncio.Event) -> None:
    """Replace one process after the other; one that does not get ready leaves the rest as they are."""
    while True:
        await asked.wait()
        asked.clear()
        log.info("web.renewing", processes=len(keepers))
        for keeper in keepers:
            await keeper.renew()
        log.info("web.renewed", processes=len(keepers))
