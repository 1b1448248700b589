"""A worker's own probes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from core.errors import QueueUnavailable
from core.settings import DatabaseSettings
from core.store.engine import Database
from core.store.migrate import upgrade
from tests.support.private_server import free_port
from worker.health import LIVE_SECONDS, Health, Pulse, serve_health
from worker.slots import JAMMED_SECONDS, Slots


class _Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


async def nothing() -> None:
    return None


async def _ask(pulse: Pulse, db: Database, path: str) -> tuple[int, Any]:
    port = free_port()
    async with (
        serve_health(Health(db, pulse, nothing), host="127.0.0.1", port=port),
        httpx.AsyncClient(trust_env=False) as client,
    ):
        answer = await client.get(f"http://127.0.0.1:{port}{path}")
    return answer.status_code, json.loads(answer.content) if path != "/metrics" else answer.text


@pytest.fixture
def settings(tmp_path: Path) -> DatabaseSettings:
    return DatabaseSettings(url=f"sqlite+aiosqlite:///{tmp_path}/muster.db")


async def test_a_worker_that_begins_its_duties_is_live_and_one_that_stopped_is_not(
    settings: DatabaseSettings,
) -> None:
    clock, db = _Clock(), Database(settings)
    pulse = Pulse(clock)
    leaser, beat = pulse.before("leaser", nothing), pulse.before("beat", nothing, within_seconds=60)
    clock.now += LIVE_SECONDS + 1
    assert await _ask(pulse, db, "/livez") == (
        503,
        {"status": "not ok", "reasons": ["leaser: not begun for 31 s"]},
    )
    await leaser()
    assert await _ask(pulse, db, "/livez") == (200, {"status": "ok", "reasons": []})
    clock.now += LIVE_SECONDS
    assert pulse.faults() == ["beat: not begun for 61 s"]
    await beat()
    assert pulse.faults() == []
    await db.close()


async def test_a_duty_that_fails_has_begun_all_the_same() -> None:
    clock = _Clock()
    pulse = Pulse(clock)

    async def fail() -> None:
        raise QueueUnavailable

    step = pulse.before("leaser", fail)
    clock.now += LIVE_SECONDS + 1
    with pytest.raises(QueueUnavailable):
        await step()
    assert pulse.faults() == []


async def test_a_worker_whose_slots_are_taken_need_not_ask_unless_nothing_moves() -> None:
    clock = _Clock()
    slots, pulse = Slots(1, clock=clock), Pulse(clock)
    pulse.before("leaser", nothing, unless=lambda: slots.free == 0 and not slots.is_jammed)
    slots.take_one()
    slots.give_back()
    assert slots.take_at_once() == 1
    clock.now += JAMMED_SECONDS
    assert pulse.faults() == []
    clock.now += 1
    assert pulse.faults() != []
    slots.give_back()
    assert not slots.is_jammed


async def test_a_worker_is_ready_when_its_database_is_migrated(settings: DatabaseSettings) -> None:
    db = Database(settings)
    status, told = await _ask(Pulse(), db, "/readyz")
    assert (status, told["reasons"]) == (503, ["the database is not migrated: run muster migrate"])
    await upgrade(settings)
    assert await _ask(Pulse(), db, "/readyz") == (200, {"status": "ok", "reasons": []})
    await db.close()


async def test_a_worker_shows_its_metrics(settings: DatabaseSettings) -> None:
    db = Database(settings)
    status, text = await _ask(Pulse(), db, "/metrics")
    assert status == 200
    assert "muster_tasks_ended_total" in text or "muster_tasks_ended" in text
    assert (await _ask(Pulse(), db, "/nothing"))[0] == 404
    await db.close()
