"""API keys of two systems and of the operator."""

from __future__ import annotations

import hashlib

from core.store.systems import add_key, revoke_key
from tests.support.api import Api
from tests.support.store import Store

NORTH, SOUTH, OPERATOR, REVOKED = "mst_north", "mst_south", "mst_operator", "mst_revoked"


async def add_keys(api: Api, store: Store) -> None:
    """Add both systems and a key each, one for the operator, and one that is revoked."""
    for code in ("north-ranch", "south-ranch"):
        await api.app.extensions["muster"].base.systems.ensure(code)
    await keep(store, 1, NORTH, "north-ranch")
    await keep(store, 2, SOUTH, "south-ranch")
    await keep(store, 3, OPERATOR, None, scope="admin")
    await keep(store, 4, REVOKED, "north-ranch")
    await revoke_key(store.db, 4)


async def keep(
    store: Store, key_id: int, key: str, system_code: str | None, *, scope: str = "system"
) -> None:
    """Store a key's hash."""
    digest = hashlib.sha256(key.encode()).hexdigest()
    await add_key(store.db, key_id, system_code=system_code, scope=scope, prefix=key[:8], key_sha256=digest)
