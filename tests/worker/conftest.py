"""A private Valkey and an installation for the worker's tests."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.support.valkey import PrivateValkey
from tests.support.worker_bench import WorkerBench, open_bench


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
