"""Secrets at rest open for their owner alone, with the key they were sealed with."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import SettingsError
from core.seal import Sealer

_SEALER = Sealer("the operator's key of 32 characters")


@given(secret=st.binary(max_size=200), owner=st.text(max_size=20), version=st.integers(1, 10**6))
def test_what_was_sealed_opens_again(secret: bytes, owner: str, version: int) -> None:
    assert _SEALER.open(_SEALER.seal(secret, owner, version), owner, version) == secret


def test_sealing_twice_gives_different_bytes_that_do_not_show_the_secret() -> None:
    first, second = _SEALER.seal(b"a secret", "farm", 1), _SEALER.seal(b"a secret", "farm", 1)
    assert first != second
    assert b"secret" not in first


@pytest.mark.parametrize(
    ("sealer", "owner", "version"),
    [
        (_SEALER, "zoo", 1),
        (_SEALER, "farm", 2),
        (_SEALER, "farm\0", 1),
        (Sealer("another key of the operator's, long"), "farm", 1),
    ],
)
def test_another_owner_version_or_key_opens_nothing(sealer: Sealer, owner: str, version: int) -> None:
    sealed = _SEALER.seal(b"a secret", "farm", 1)
    with pytest.raises(SettingsError, match="MUSTER_SECRET_KEY"):
        sealer.open(sealed, owner, version)


def test_damaged_bytes_are_refused() -> None:
    sealed = _SEALER.seal(b"a secret", "farm", 1)
    damaged = [sealed[:size] for size in (0, 5, 12, 20)]
    damaged += [sealed[:at] + bytes([sealed[at] ^ 1]) + sealed[at + 1 :] for at in range(len(sealed))]
    for bad in damaged:
        with pytest.raises(SettingsError):
            _SEALER.open(bad, "farm", 1)
