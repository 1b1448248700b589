"""Systems (tenants), their callback secrets, and API keys."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from datetime import datetime
from functools import partial

from sqlalchemy import insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from core.errors import NotFound
from core.seal import Sealer
from core.store.engine import Database
from core.store.tables import api_key, system
from core.store.types import server_now

SECRET_BYTES = 32
SECRET_OVERLAP_SECONDS = 86_400.0
"""The secret before a rotation signs along for so long."""


@dataclass(frozen=True, slots=True, kw_only=True)
class System:
    """A tenant: its share, its limits."""

    code: str
    weight: float = 1.0
    max_running: int | None = None
    max_waiting: int | None = None
    fetch_allow: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiKey:
    """Whom a key speaks for; `system_code` None is the operator."""

    id: int
    system_code: str | None
    scope: str
    prefix: str
    created_at: datetime | None = None
    revoked_at: datetime | None = None


class Systems:
    """The systems of a database; `default_secret` is what new ones get (embedded mode), else a random one."""

    def __init__(self, db: Database, sealer: Sealer, *, default_secret: bytes | None = None) -> None:
        self._db, self._sealer, self._default_secret = db, sealer, default_secret
        self._known: set[str] = set()

    async def ensure(self, code: str) -> None:
        """Add the system when it is not there."""
        if code in self._known:
            return
        with contextlib.suppress(IntegrityError):  # another process added it at the same moment
            await self._db.write(partial(self._add_missing, code))
        self._known.add(code)

    async def _add_missing(self, code: str, connection: AsyncConnection) -> None:
        if (await connection.execute(select(system.c.code).where(system.c.code == code))).first():
            return
        secret = self._default_secret or os.urandom(SECRET_BYTES)
        await connection.execute(
            insert(system).values(
                code=code,
                weight=1.0,
                fetch_allow=[],
                secret=self._sealer.seal(secret, code, 1),
                secret_version=1,
                created_at=server_now(),
                updated_at=server_now(),
            )
        )

    async def rotate(self, code: str, *, overlap_seconds: float) -> bytes:
        """Give the system a new secret; the old one signs along for a while. Raises NotFound."""
        return await self._db.write(partial(self._rotate, code, overlap_seconds))

    async def _rotate(self, code: str, overlap_seconds: float, connection: AsyncConnection) -> bytes:
        mine = select(system).where(system.c.code == code).with_for_update()
        row = (await connection.execute(mine)).one_or_none()
        if row is None:
            raise NotFound("There is no such system.")
        secret, version = os.urandom(SECRET_BYTES), row.secret_version + 1
        await connection.execute(
            update(system)
            .where(system.c.code == code)
            .values(
                secret=self._sealer.seal(secret, code, version),
                secret_version=version,
                old_secret=row.secret,
                old_secret_until=server_now(overlap_seconds),
                updated_at=server_now(),
            )
        )
        return secret

    async def all(self) -> list[System]:
        """All systems by code."""
        async with self._db.read() as connection:
            rows = (await connection.execute(select(system).order_by(system.c.code))).all()
        return [
            System(
                code=row.code,
                weight=row.weight,
                max_running=row.max_running,
                max_waiting=row.max_waiting,
                fetch_allow=tuple(row.fetch_allow),
            )
            for row in rows
        ]

    async def secrets(self, code: str) -> list[bytes]:
        """The secrets that callbacks are signed with, the current one first; raises NotFound."""
        old_is_good = (system.c.old_secret_until > server_now()).label("old_is_good")
        statement = select(system, old_is_good).where(system.c.code == code)
        async with self._db.read() as connection:
            row = (await connection.execute(statement)).one_or_none()
        if row is None:
            raise NotFound("There is no such system.")
        secrets = [self._sealer.open(row.secret, code, row.secret_version)]
        if row.old_secret is not None and row.old_is_good:
            secrets.append(self._sealer.open(row.old_secret, code, row.secret_version - 1))
        return secrets


async def find_key(db: Database, key_sha256: str) -> ApiKey | None:
    """The key with this hash, unless it is revoked."""
    statement = select(api_key).where(api_key.c.key_sha256 == key_sha256, api_key.c.revoked_at.is_(None))
    async with db.read() as connection:
        row = (await connection.execute(statement)).one_or_none()
    if row is None:
        return None
    return ApiKey(id=row.id, system_code=row.system_code, scope=row.scope, prefix=row.prefix)


async def add_key(
    db: Database, key_id: int, *, system_code: str | None, scope: str, prefix: str, key_sha256: str
) -> None:
    """Store a key's hash."""
    row = {"id": key_id, "system_code": system_code, "scope": scope, "prefix": prefix}

    async def work(connection: AsyncConnection) -> None:
        await connection.execute(
            insert(api_key).values(row | {"key_sha256": key_sha256, "created_at": server_now()})
        )

    await db.write(work)


async def revoke_key(db: Database, key_id: int) -> bool:
    """Make a key invalid; False when there is no such valid key."""
    valid = (api_key.c.id == key_id, api_key.c.revoked_at.is_(None))

    async def work(connection: AsyncConnection) -> int:
        return (
            await connection.execute(update(api_key).where(*valid).values(revoked_at=server_now()))
        ).rowcount

    return await db.write(work) == 1
