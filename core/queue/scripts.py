"""Loads the Lua scripts and registers them; each is one transition of the queue."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from importlib.resources import files
from typing import Any

from redis.asyncio import Redis
from redis.commands.core import AsyncScript

NAMES = (
    "enqueue",
    "claim",
    "extend",
    "settle",
    "reap",
    "cancel",
    "hasten",
    "limit",
    "judge",
    "rebuild",
    "position",
    "stats",
)
_SHARED = "_shared"


def read_source(name: str) -> str:
    """The text of one Lua file of this room."""
    return (files("core.queue") / "lua" / f"{name}.lua").read_text(encoding="utf-8")


def load_sources() -> dict[str, str]:
    """Every script as Redis gets it: what all share, then the script."""
    shared = read_source(_SHARED)
    return {name: f"{shared}\n{read_source(name)}" for name in NAMES}


class Scripts:
    """The scripts of one queue on one client; survives a restart of the server."""

    def __init__(self, client: Redis, keys: list[str], sources: Mapping[str, str]) -> None:
        self._keys = keys
        self._scripts: dict[str, AsyncScript] = {
            name: client.register_script(source) for name, source in sources.items()
        }

    async def run(self, name: str, arguments: Iterable[str | int | float]) -> Any:
        """Run one script; a server that has forgotten it is given it again."""
        return await self._scripts[name](keys=self._keys, args=list(arguments))
