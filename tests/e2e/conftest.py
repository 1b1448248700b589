"""One running service for the tests that leave it as it was."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.muster import Embedded


@pytest.fixture(scope="session")
def muster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Embedded]:
    with Embedded(tmp_path_factory.mktemp("up") / "data") as running:
        # Its last word; before that it may be asking the web process that a test kills.
        running.wait_for(
            lambda: next((line for line in running.printed if "curl" in line), None), "curl", limit_seconds=30
        )
        yield running


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    return tmp_path / "data"
