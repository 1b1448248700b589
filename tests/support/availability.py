"""Say that something a test needs cannot be had: a skip on a laptop, a failure in CI."""

from __future__ import annotations

import os
from typing import NoReturn

import pytest

REQUIRE_ALL = "MUSTER_REQUIRE_ALL"


def everything_is_required() -> bool:
    """Whether a missing server fails the tests instead of skipping them."""
    return os.environ.get(REQUIRE_ALL, "") not in ("", "0")


def unavailable(reason: str) -> NoReturn:
    """End the running test: skipped, or failed when everything is required."""
    if everything_is_required():
        pytest.fail(f"{reason} ({REQUIRE_ALL} is set)", pytrace=False)
    pytest.skip(reason)
