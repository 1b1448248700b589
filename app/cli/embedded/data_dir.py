"""The folder of an embedded service: everything it keeps, for its owner's eyes only."""

from __future__ import annotations

import base64
import fcntl
import json
import os
import secrets
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

from core.errors import MusterError, SettingsError

DEFAULT_DATA_DIR = ".muster"
_SOCKET = "valkey.sock"
_MAX_SOCKET_BYTES = 100
"""The kernel allows 107 bytes for the path of a unix socket on Linux, 103 on macOS."""


class AlreadyRunning(MusterError):
    """Another Muster runs on this folder."""

    code = "already_running"


@dataclass(frozen=True, slots=True, kw_only=True)
class DataDir:
    """A folder with its secrets; `socket` may lead there through a shorter path."""

    folder: Path
    secret_key: str = field(repr=False)
    webhook_secret: str = field(repr=False)
    socket: Path

    @classmethod
    def existing(cls, folder: Path) -> DataDir:
        """The folder of a service that was started before; raises SettingsError when there is none."""
        place = folder.expanduser().resolve()
        try:
            ready = json.loads((place / "ready.json").read_text())
            socket = Path(unquote(str(ready["redis_url"]).removeprefix("unix://")))
        except (OSError, ValueError, KeyError, TypeError):
            socket = place / _SOCKET
        try:
            secret_key, webhook_secret = (
                (place / name).read_text().strip() for name in ("secret_key", "webhook_secret")
            )
        except OSError as error:
            raise SettingsError(f"{folder} is not the folder of a `muster up`.") from error
        return cls(folder=place, secret_key=secret_key, webhook_secret=webhook_secret, socket=socket)

    @property
    def redis_url(self) -> str:
        """Where Valkey listens."""
        return f"unix://{quote(str(self.socket))}"

    def overrides(self, public_url: str = "") -> dict[str, Any]:
        """The settings of an embedded service, as arguments of `load_settings`."""
        return {
            "embedded": True,
            "auth": "off",
            "public_url": public_url,
            "secret_key": self.secret_key,
            "embedded_webhook_secret": self.webhook_secret,
            "database": {"url": f"sqlite+aiosqlite:///{self.folder / 'muster.db'}"},
            "redis": {"url": self.redis_url},
            "media": {"dir": str(self.folder / "media")},
        }

    def announce(self, ready: Mapping[str, object]) -> None:
        """Write ready.json, whole or not at all."""
        _write_private(self.folder / "ready.json", json.dumps(ready, indent=2) + "\n")

    def withdraw(self) -> None:
        """Remove ready.json."""
        (self.folder / "ready.json").unlink(missing_ok=True)


def environment_of(overrides: Mapping[str, Any], prefix: str = "MUSTER") -> dict[str, str]:
    """The same settings as environment variables."""
    found: dict[str, str] = {}
    for name, setting in overrides.items():
        variable = f"{prefix}_{name.upper()}"
        if isinstance(setting, Mapping):
            found |= environment_of(setting, variable)
        else:
            found[variable] = str(setting).lower() if isinstance(setting, bool) else str(setting)
    return found


@contextmanager
def open_data_dir(folder: Path) -> Iterator[DataDir]:
    """Make the folder if need be, lock it, and read or make its secrets.

    Raises:
        AlreadyRunning: another process holds the lock.
        SettingsError: the folder cannot be used.
    """
    place = folder.expanduser().resolve()
    if "?" in str(place):
        raise SettingsError(f"{folder}: the path must not hold a question mark; choose another --data-dir.")
    try:
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
        place.chmod(0o700)
        with _locked(place, folder), _short_socket(place) as socket:
            # One that was killed leaves its own behind.
            (place / "ready.json").unlink(missing_ok=True)
            yield DataDir(
                folder=place,
                secret_key=_kept(place / "secret_key", secrets.token_hex(32)),
                webhook_secret=_kept(place / "webhook_secret", _new_webhook_secret()),
                socket=socket,
            )
    except (FileExistsError, NotADirectoryError, PermissionError) as error:
        reason = f"{error.strerror}: {error.filename}"
        raise SettingsError(f"{folder} cannot be used ({reason}); choose another --data-dir.") from error


@contextmanager
def _locked(place: Path, named: Path) -> Iterator[None]:
    """Hold the folder's lock; the kernel lets go of it whenever this process ends."""
    with (place / "lock").open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            raise AlreadyRunning(_who_runs(named, lock.read(), place)) from None
        lock.truncate(0)
        lock.write(f"{os.getpid()}\n")
        lock.flush()
        yield


def _who_runs(named: Path, pid: str, place: Path) -> str:
    try:
        url = str(json.loads((place / "ready.json").read_text())["url"])
    except (OSError, ValueError, KeyError, TypeError):
        url = "it is starting or stopping"
    return (
        f"Muster already runs on {named} (process {pid.strip() or 'unknown'}, {url}). "
        "Stop it first, or choose another --data-dir."
    )


@contextmanager
def _short_socket(place: Path) -> Iterator[Path]:
    """The path of Valkey's socket; through a link in the temporary folder when it would be too long."""
    socket = place / _SOCKET
    if len(os.fsencode(socket)) <= _MAX_SOCKET_BYTES:
        yield socket
        return
    with tempfile.TemporaryDirectory(prefix="muster-", ignore_cleanup_errors=True) as shortcut:
        link = Path(shortcut) / "d"
        link.symlink_to(place)
        if len(os.fsencode(link / _SOCKET)) > _MAX_SOCKET_BYTES:
            raise SettingsError("--data-dir and the temporary folder have too long paths for a unix socket.")
        yield link / _SOCKET


def _kept(path: Path, new: str) -> str:
    """The secret in a file; `new` is put there when there is none."""
    if not path.exists():
        _write_private(path, new + "\n")
    return path.read_text().strip()


def _write_private(path: Path, text: str) -> None:
    """Write a file that its owner alone can read; a crash leaves the old one or the new one."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)


def _new_webhook_secret() -> str:
    return f"whsec_{base64.b64encode(secrets.token_bytes(32)).decode()}"
