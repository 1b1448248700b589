"""A short chaos run keeps every promise; `make chaos` is the long one."""

from __future__ import annotations

import secrets
import subprocess
import sys

import pytest

from tests.support.availability import unavailable
from tests.support.programs import ProgramMissingError, find_mariadb
from tests.support.sources import ROOT

_LIMIT_SECONDS = 240


def _run(*arguments: str) -> None:
    seed = str(secrets.randbelow(1_000_000))
    done = subprocess.run(
        [sys.executable, "-m", "tests.chaos", "--seed", seed, *arguments],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=_LIMIT_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-8000:]


@pytest.mark.timeout(_LIMIT_SECONDS + 30)
@pytest.mark.mariadb
def test_on_mariadb_nothing_is_lost_whatever_dies() -> None:
    try:
        find_mariadb()
    except ProgramMissingError as error:
        unavailable(str(error))
    _run("--database", "mariadb", "--tasks", "400", "--poison", "2", "--seconds", "34")


@pytest.mark.timeout(_LIMIT_SECONDS + 30)
def test_on_sqlite_nothing_is_lost_whatever_dies() -> None:
    _run("--database", "sqlite", "--tasks", "100", "--poison", "1", "--seconds", "16", "--workers", "2")
