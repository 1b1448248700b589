"""Systems, their secrets at rest, and keys."""

from __future__ import annotations

import asyncio

import pytest
from sqlalchemy import select, update

from core.errors import NotFound, SettingsError
from core.seal import Sealer
from core.store.systems import Systems, add_key, find_key, revoke_key
from core.store.tables import system
from core.store.types import server_now
from tests.support.store import Store

_SEALER = Sealer("a key of the operator's of 32 characters")


async def test_a_system_is_added_once_with_a_secret_of_its_own(store: Store) -> None:
    systems = Systems(store.db, _SEALER)
    for code in ("farm", "zoo", "farm"):
        await systems.ensure(code)
    assert [(found.code, found.weight, found.max_running) for found in await systems.all()] == [
        ("farm", 1.0, None),
        ("zoo", 1.0, None),
    ]
    (farm,), (zoo,) = await systems.secrets("farm"), await systems.secrets("zoo")
    assert len(farm) == len(zoo) == 32
    assert farm != zoo


async def test_many_processes_add_a_system_once(store: Store, other_store: Store) -> None:
    for code in ("a", "b", "c", "d"):
        parts = [Systems(of.db, _SEALER) for of in (store, other_store) * 4]
        await asyncio.gather(*(systems.ensure(code) for systems in parts))
        found = [await systems.secrets(code) for systems in parts]
        assert found == [found[0]] * 8


async def test_a_given_secret_is_what_new_systems_get(store: Store) -> None:
    systems = Systems(store.db, _SEALER, default_secret=b"for all")
    await systems.ensure("farm")
    assert await systems.secrets("farm") == [b"for all"]


async def test_a_secret_is_not_stored_in_the_clear_and_opens_with_its_key_alone(store: Store) -> None:
    await Systems(store.db, _SEALER, default_secret=b"very secret").ensure("farm")
    async with store.db.read() as connection:
        sealed = (await connection.execute(select(system.c.secret))).scalar_one()
    assert b"secret" not in sealed
    with pytest.raises(SettingsError, match="MUSTER_SECRET_KEY"):
        await Systems(store.db, Sealer("another key of the operator's, as long")).secrets("farm")


async def test_both_secrets_sign_while_one_takes_the_others_place(store: Store) -> None:
    systems = Systems(store.db, _SEALER, default_secret=b"first")
    await systems.ensure("farm")
    second = await systems.rotate("farm", overlap_seconds=60)
    assert await systems.secrets("farm") == [second, b"first"]

    await store.run(update(system).values(old_secret_until=server_now(-0.1)))
    assert await systems.secrets("farm") == [second]

    third = await systems.rotate("farm", overlap_seconds=60)
    assert await systems.secrets("farm") == [third, second]
    assert len({second, third}) == 2


async def test_a_system_that_is_not_there_has_no_secrets(store: Store) -> None:
    systems = Systems(store.db, _SEALER)
    with pytest.raises(NotFound):
        await systems.secrets("farm")
    with pytest.raises(NotFound):
        await systems.rotate("farm", overlap_seconds=1)


async def test_a_key_is_found_by_its_hash_until_it_is_revoked(store: Store) -> None:
    (key_id,) = await store.ids.take()
    await add_key(store.db, key_id, system_code="farm", scope="system", prefix="mst_12", key_sha256="a" * 64)
    found = await find_key(store.db, "a" * 64)
    assert found is not None
    assert (found.id, found.system_code, found.scope, found.prefix) == (key_id, "farm", "system", "mst_12")
    assert await find_key(store.db, "A" * 64) is None
    assert await revoke_key(store.db, key_id)
    assert not await revoke_key(store.db, key_id)
    assert await find_key(store.db, "a" * 64) is None
