"""A private Valkey and an installation for the worker's tests."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import structlog

from tests.support.valkey import PrivateValkey
from tests.support.worker_bench import WorkerBench, open_bench


@pytest.fixture(scope="session", autouse=True)
def plain_lines() -> None:
    """Log as a worker does: by default structlog draws every variable of every frame of an error."""
    structlog.configure(
        processors=[
            structlog.stdlib.add_log_level,
            structlog.processors.format_exc_info,
            structlog.dev.ConsoleRenderer(colors=False),
        ]
    )


@pytest.fixture(scope="module")
def valkey() -> Iterator[PrivateValkey]:
    """Serve Valkey to one module."""
    with PrivateValkey() as server:
        yield server


@pytest.fixture
async def bench(sqlite_url: str, valkey: PrivateValkey, tmp_path: Path) -> AsyncIterator[WorkerBench]:
    """Give an installation on SQLite without a worker."""
    async with open_bench(sqlite_url, valkey, tmp_path) as opened:
        yield opened
