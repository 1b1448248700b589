"""Worker rows: heartbeats, and declaring a silent worker dead."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from sqlalchemy import select

from core.store.tables import worker
from core.store.workers import (
    Worker,
    beat_worker,
    close_worker,
    declare_dead,
    list_workers,
    own_tasks,
    register_worker,
)
from tests.support.store import Store


async def test_a_worker_registers_once(store: Store) -> None:
    new = Worker(id="boot-1", host="h" * 300, pid=4, version="0.1", models=("picture", "ssdlite"), slots=3)
    await register_worker(store.db, new, lease_seconds=15.5)
    await register_worker(store.db, new, lease_seconds=15.5)
    (found,) = await list_workers(store.db)
    assert (found.id, found.host, found.models, found.slots) == ("boot-1", "h" * 255, new.models, 3)
    assert found.started_at == found.last_seen_at
    async with store.db.read() as connection:
        row = (await connection.execute(select(worker))).one()
    assert row.alive_until - row.last_seen_at == timedelta(seconds=15.5)


async def test_a_heartbeat_prolongs_a_life(store: Store) -> None:
    boot_id = await store.open_worker(lease_seconds=1)
    assert await beat_worker(store.db, boot_id, lease_seconds=60)
    async with store.db.read() as connection:
        row = (await connection.execute(select(worker))).one()
    assert row.alive_until - row.last_seen_at == timedelta(seconds=60)


async def test_a_silent_worker_that_nobody_declared_dead_revives(store: Store) -> None:
    boot_id = await store.open_worker()
    await store.lapse_worker(boot_id)
    assert await list_workers(store.db) == []
    assert await beat_worker(store.db, boot_id, lease_seconds=15)
    assert await declare_dead(store.db) == []
    assert [one.id for one in await list_workers(store.db)] == [boot_id]


async def test_only_an_overdue_worker_is_declared_dead(store: Store) -> None:
    alive, silent, left = [await store.open_worker() for _ in range(3)]
    await store.lapse_worker(silent)
    await store.lapse_worker(left)
    await close_worker(store.db, left)

    assert await declare_dead(store.db) == [silent]
    assert await declare_dead(store.db) == []
    assert not await beat_worker(store.db, silent, lease_seconds=15)
    assert not await beat_worker(store.db, left, lease_seconds=15)
    assert [one.id for one in await list_workers(store.db)] == [alive]


async def test_of_many_reapers_one_declares_a_worker_dead(store: Store, other_store: Store) -> None:
    silent = [await store.open_worker() for _ in range(5)]
    for boot_id in silent:
        await store.lapse_worker(boot_id)
    found = await asyncio.gather(*(declare_dead(of.db) for of in (store, other_store) for _ in range(3)))
    assert sorted(boot_id for part in found for boot_id in part) == sorted(silent)


async def test_a_worker_finds_its_own_rows(store: Store) -> None:
    mine, other = await store.open_worker(), await store.open_worker()
    claim = "claim-1"
    begun = await store.start(await store.pending(), await store.pending(), worker_id=mine, token=claim)
    await store.start(await store.pending(), worker_id=other)
    await store.ask_to_stop(begun.tasks[1])
    found = sorted(await own_tasks(store.db, mine), key=lambda one: one.task_id)
    assert [(one.task_id, one.attempt, one.claim_token, one.cancel_requested) for one in found] == [
        (begun.tasks[0].id, 1, claim, False),
        (begun.tasks[1].id, 1, claim, True),
    ]
    assert {one.id: one.tasks for one in await list_workers(store.db)} == {mine: 2, other: 1}
