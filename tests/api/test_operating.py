"""What operators and their tools ask."""

from __future__ import annotations

from pathlib import Path

from core.settings import Settings
from tests.support.api import Api, changed, open_api, row_of
from tests.support.metrics import read_scrape
from tests.support.standstill import stand_still
from tests.support.store import Store
from tests.support.valkey import PrivateValkey


async def test_models_are_listed_with_their_prompts(api: Api) -> None:
    items = {model["name"]: model for model in (await api.get("/v1/models")).json["items"]}

    assert items["picture"]["prompts"] == ["ALL"]
    assert (items["picture"]["labels"], items["picture"]["default_for"]) == ([], [])
    assert items["ssdlite"]["prompts"][:3] == ["ALL", "COW", "SHEEP"]
    assert items["ssdlite"]["default_for"] == ["day", "night"]


async def test_stats_tell_how_much_waits_and_runs(api: Api) -> None:
    await api.accepted()
    stats = (await api.get("/v1/stats")).json

    queue = stats["queues"]["recognition"]
    assert (stats["waiting"], stats["running"]) == (1, 0)
    assert (queue["waiting"], queue["ready"], queue["paused"]) == (1, 1, False)
    assert queue["systems"] == {"north-ranch": {"waiting": 1, "running": 0}}
    assert stats["oldest_age_seconds"] >= 0
    assert stats["queues"].keys() == {"recognition", "solo", "delivery"}


async def test_stats_are_answered_while_redis_is_away(api: Api, valkey: PrivateValkey) -> None:
    valkey.kill()
    try:
        answer = await api.get("/v1/stats")
        ready = await api.get("/readyz")
    finally:
        valkey.start()

    assert (answer.status, answer.json["queues"]) == (200, {})
    assert (ready.status, "Redis" in ready.json["reasons"][0]) == (200, True)


async def test_workers_that_live_are_listed(api: Api, store: Store) -> None:
    await store.start(await row_of(store, await api.accepted()))

    (worker,) = (await api.get("/v1/workers")).json["items"]

    assert (worker["host"], worker["tasks"], worker["slots"]) == ("barn", 1, 2)
    assert worker["models"] == ["picture"]


async def test_a_process_is_alive_and_ready(api: Api) -> None:
    assert (await api.get("/livez")).json == {"status": "ok", "reasons": []}
    ready = (await api.get("/readyz")).json
    assert ready["status"] == "ok"
    assert "no worker" in ready["reasons"][0]


async def test_a_process_without_a_migrated_database_is_alive_and_not_ready(
    settings: Settings, tmp_path: Path
) -> None:
    async with open_api(
        changed(settings, database={"url": f"sqlite+aiosqlite:///{tmp_path}/empty.db"})
    ) as api:
        alive, ready = await api.get("/livez"), await api.get("/readyz")

    assert (alive.status, ready.status) == (200, 503)
    assert "muster migrate" in ready.json["reasons"][0]
    assert ready.headers["Retry-After"] == "2"


async def test_metrics_tell_depths_and_no_tenants(api: Api) -> None:
    await api.accepted()

    answer = await api.get("/metrics")

    text = answer.content.decode()
    assert answer.headers["Content-Type"].startswith("text/plain")
    assert 'muster_queue_entries{place="ready",queue="recognition"} 1.0' in text
    assert "muster_oldest_waiting_seconds" in text
    assert "north-ranch" not in text


async def test_metrics_are_told_while_redis_is_away_without_old_figures(
    api: Api, valkey: PrivateValkey
) -> None:
    await api.accepted()
    assert b'place="ready",queue="recognition"' in (await api.get("/metrics")).content
    valkey.kill()
    try:
        answer = await api.get("/metrics")
    finally:
        valkey.start()
    assert answer.status == 200
    assert b"muster_queue_entries{" not in answer.content
    assert b"muster_ready_lag_seconds{" not in answer.content
    assert read_scrape(answer.content.decode())["muster_oldest_waiting_seconds"] > 0


async def test_a_process_whose_submissions_stand_still_is_to_be_started_anew(
    settings: Settings, tmp_path: Path
) -> None:
    async with open_api(changed(settings, intake={"stalled_seconds": 0.05})) as api:
        answer = await stand_still(api, tmp_path / "muster.db")
        assert (answer.status, answer.json["status"]) == (503, "not live")
        assert "submissions have not moved" in answer.json["reasons"][0]
        assert (await api.get("/livez")).status == 200
