"""A worker's own probes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from core.settings import DatabaseSettings
from core.store.engine import Database
from core.store.migrate import upgrade
from tests.support.private_server import free_port
from worker.health import LIVE_SECONDS, Health, Pulse, serve_health
from worker.slots import Slots


class _Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


async def _ask(pulse: Pulse, slots: Slots, db: Database, path: str) -> tuple[int, Any]:
    port = free_port()
    async with (
        serve_health(Health(db, pulse, slots), host="127.0.0.1", port=port),
        httpx.AsyncClient(trust_env=False) as client,
    ):
        answer = await client.get(f"http://127.0.0.1:{port}{path}")
    return answer.status_code, json.loads(answer.content) if path != "/metrics" else answer.text


@pytest.fixture
def settings(tmp_path: Path) -> DatabaseSettings:
    return DatabaseSettings(url=f"sqlite+aiosqlite:///{tmp_path}/muster.db")


async def test_a_worker_that_asks_for_work_is_live_and_one_that_stopped_asking_is_not(
    settings: DatabaseSettings,
) -> None:
    clock, db = _Clock(), Database(settings)
    pulse = Pulse(clock)

    async def step() -> None:
        return None

    clock.now += LIVE_SECONDS + 1
    assert await _ask(pulse, Slots(1), db, "/livez") == (
        503,
        {"status": "not ok", "reasons": ["the queue was not asked for work for 30 s"]},
    )
    await pulse.before(step)()
    assert await _ask(pulse, Slots(1), db, "/livez") == (200, {"status": "ok", "reasons": []})
    await db.close()


async def test_a_worker_whose_slots_are_taken_need_not_ask(settings: DatabaseSettings) -> None:
    clock, db, slots = _Clock(), Database(settings), Slots(1)
    pulse = Pulse(clock)
    clock.now += LIVE_SECONDS + 1
    slots.take_one()
    assert (await _ask(pulse, slots, db, "/livez"))[0] == 200
    await db.close()


async def test_a_worker_is_ready_when_its_database_is_migrated(settings: DatabaseSettings) -> None:
    db = Database(settings)
    status, told = await _ask(Pulse(), Slots(1), db, "/readyz")
    assert (status, told["reasons"]) == (503, ["the database is not migrated: run muster migrate"])
    await upgrade(settings)
    assert await _ask(Pulse(), Slots(1), db, "/readyz") == (200, {"status": "ok", "reasons": []})
    await db.close()


async def test_a_worker_shows_its_metrics(settings: DatabaseSettings) -> None:
    db = Database(settings)
    status, text = await _ask(Pulse(), Slots(1), db, "/metrics")
    assert status == 200
    assert "muster_tasks_ended_total" in text or "muster_tasks_ended" in text
    assert (await _ask(Pulse(), Slots(1), db, "/nothing"))[0] == 404
    await db.close()
