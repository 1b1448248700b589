from __future__ import annotations

from typing import Any

import pytest

from core.errors import SettingsError
from core.net import NetSettings


@pytest.mark.parametrize(
    "wrong",
    [
        {"max_redirects": -1},
        {"max_bytes": 0},
        {"clients": 0},
        {"in_flight_per_client": 0},
        {"per_host_limit": 0},
        {"dns_timeout_seconds": 0.0},
        {"min_bytes_per_second": 0.0},
        {"fetch_timeout_seconds": -1.0},
        {"allowed_ports": frozenset()},
        {"allowed_ports": frozenset({0})},
        {"allowed_ports": frozenset({65536})},
    ],
)
def test_bounds_that_bound_nothing_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(SettingsError):
        NetSettings(**wrong)


def test_no_redirects_is_a_choice() -> None:
    assert NetSettings(max_redirects=0).max_redirects == 0
