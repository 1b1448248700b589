"""Find the server programs of a machine and run them as somebody who is not root."""

from __future__ import annotations

import os
import pwd
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_MARIADB_FOLDERS = ("/usr/sbin", "/usr/local/sbin", "/usr/libexec", "/opt/homebrew/bin", "/usr/local/bin")
_POSTGRESQL_FOLDERS = (
    "/usr/lib/postgresql/*/bin",
    "/usr/pgsql-*/bin",
    "/opt/homebrew/opt/postgresql@*/bin",
    "/usr/local/opt/postgresql@*/bin",
)
_VERSION_LIMIT_SECONDS = 20


class ProgramMissingError(Exception):
    """A server program is not installed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Programs:
    """The two programs of a database server."""

    server: Path
    set_up: Path
    version: str


def _version(program: Path, *options: str, pattern: str) -> str | None:
    """Ask a program for its version; None when it is another program of the same name."""
    command: list[str | Path] = [program, *options, "--version"]
    try:
        answer = subprocess.run(
            command, capture_output=True, text=True, timeout=_VERSION_LIMIT_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    found = re.search(pattern, answer.stdout)
    return found[1] if found else None


def find_mariadb() -> Programs:
    """Find MariaDB's programs; raises ProgramMissingError."""
    path = os.pathsep.join((os.environ.get("PATH", ""), *_MARIADB_FOLDERS))
    server, set_up = shutil.which("mariadbd", path=path), shutil.which("mariadb-install-db", path=path)
    version = _version(Path(server), "--no-defaults", pattern=r"([\d.]+)-MariaDB") if server else None
    if server and set_up and version:
        return Programs(server=Path(server), set_up=Path(set_up), version=version)
    raise ProgramMissingError("MariaDB (mariadbd, mariadb-install-db) is not installed")


def find_postgresql() -> Programs:
    """Find PostgreSQL's programs, the newest first; raises ProgramMissingError.

    The folders of the packages come before PATH, where another program called `postgres` may stand.
    """
    folders = [folder for pattern in _POSTGRESQL_FOLDERS for folder in Path("/").glob(pattern.lstrip("/"))]
    folders.sort(key=lambda folder: [int(part) for part in re.findall(r"\d+", str(folder))], reverse=True)
    folders += [Path(folder) for folder in os.environ.get("PATH", "").split(os.pathsep) if folder]
    for folder in folders:
        server, set_up = folder / "postgres", folder / "initdb"
        if not (server.is_file() and set_up.is_file()):
            continue
        if version := _version(server, pattern=r"\(PostgreSQL\) (\d+)"):
            return Programs(server=server, set_up=set_up, version=version)
    raise ProgramMissingError("PostgreSQL (postgres, initdb) is not installed")


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """Whom the servers run as. PostgreSQL refuses root, and MariaDB should."""

    name: str
    uid: int
    gid: int

    def popen_options(self) -> dict[str, Any]:
        """Give the arguments that make subprocess run as this account."""
        return {"user": self.uid, "group": self.gid, "extra_groups": []} if os.geteuid() == 0 else {}


def find_account(*preferred: str) -> Account:
    """Pick the current user, or for root the first of the preferred ones that exists, else nobody."""
    if os.geteuid() != 0:
        entry = pwd.getpwuid(os.geteuid())
        return Account(name=entry.pw_name, uid=entry.pw_uid, gid=entry.pw_gid)
    known = {entry.pw_name: entry for entry in pwd.getpwall()}
    entry = next(known[name] for name in (*preferred, "nobody") if name in known)
    return Account(name=entry.pw_name, uid=entry.pw_uid, gid=entry.pw_gid)


def ends_with_parent() -> list[str]:
    """Give the prefix of a command that dies with the process that started it, where there is one."""
    setpriv = shutil.which("setpriv") if sys.platform == "linux" else None
    return [setpriv, "--pdeathsig", "KILL", "--"] if setpriv else []


def missing() -> list[str]:
    """Name the servers that are neither installed nor given by an environment variable."""
    names = []
    for name, find in (("mariadb", find_mariadb), ("postgresql", find_postgresql)):
        try:
            if not os.environ.get(f"MUSTER_TEST_{name.upper()}_URL"):
                find()
        except ProgramMissingError:
            names.append(name)
    return names


if __name__ == "__main__":
    sys.stdout.write(" ".join(missing()) + "\n")
