"""Run every store test on every database."""

from __future__ import annotations

import pytest


@pytest.fixture(
    params=[
        "sqlite",
        pytest.param("mariadb", marks=pytest.mark.mariadb),
        pytest.param("postgresql", marks=pytest.mark.postgresql),
    ]
)
def database_url(request: pytest.FixtureRequest) -> str:
    """Give the url of an empty database, on each of the three in turn."""
    url: str = request.getfixturevalue(f"{request.param}_url")
    return url
