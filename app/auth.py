"""Who is asking: a system, the operator, or (auth off) anybody."""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass
from time import monotonic

from core.errors import Forbidden, Unauthenticated
from core.store.engine import Database
from core.store.systems import ApiKey, find_key

KEY_PREFIX = "mst_"
_KEPT_SECONDS = 5.0
_KEPT_KEYS = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Principal:
    """Whom a request speaks for; without a system it sees all of them."""

    system_code: str | None = None
    is_admin: bool = False

    def demand_admin(self) -> None:
        """Raise Forbidden unless this is the operator."""
        if not self.is_admin:
            raise Forbidden("This needs an operator's key.")


ANYBODY = Principal(is_admin=True)


def hash_of(key: str) -> str:
    """What is stored of a key. Keys are long and random, so a plain hash is as good as a slow one."""
    return hashlib.sha256(key.encode()).hexdigest()


class Doorkeeper:
    """Checks API keys; an answer is kept for 5 s, so a revoked key is refused after that."""

    def __init__(self, db: Database, *, is_on: bool) -> None:
        self._db, self.is_on = db, is_on
        self._known: dict[str, tuple[float, ApiKey | None]] = {}

    async def admit(self, authorization: str | None) -> Principal:
        """Name the principal of an `Authorization` header; raises Unauthenticated."""
        if not self.is_on:
            return ANYBODY
        scheme, _, key = (authorization or "").partition(" ")
        if scheme.lower() != "bearer" or not key.startswith(KEY_PREFIX) or not key.isascii():
            raise Unauthenticated("Send an API key: Authorization: Bearer mst_...")
        found = await self._find(hash_of(key.strip()))
        if found is None:
            raise Unauthenticated("The API key is not valid.")
        return Principal(system_code=found.system_code, is_admin=hmac.compare_digest(found.scope, "admin"))

    async def _find(self, key_sha256: str) -> ApiKey | None:
        known = self._known.get(key_sha256)
        if known is not None and monotonic() - known[0] < _KEPT_SECONDS:
            return known[1]
        found = await find_key(self._db, key_sha256)
        if len(self._known) >= _KEPT_KEYS:
            self._known.clear()
        self._known[key_sha256] = (monotonic(), found)
        return found
