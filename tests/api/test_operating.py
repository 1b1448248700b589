"""What operators and their tools ask."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from core.settings import Settings
from tests.support.api import Api, changed, deliver, open_api, row_of, submission
from tests.support.metrics import read_scrape
from tests.support.standstill import stand_still
from tests.support.store import Store
from tests.support.valkey import PrivateValkey

HOOK = "https://erp.example/hook?key=secret"


async def delivered(api: Api) -> Any:
    """Give the delivery of a task that was cancelled."""
    task = await api.accepted(submission(callback_url=HOOK))
    await api.post(f"/v1/tasks/{task['id']}/cancel")
    (delivery,) = (await api.get(f"/v1/deliveries?task_id={task['id']}")).json["items"]
    return delivery


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


async def test_a_delivery_is_told_without_its_url(api: Api) -> None:
    delivery = await delivered(api)

    answer = await api.get(f"/v1/deliveries/{delivery['id']}")

    told = answer.json
    assert (told["event"], told["status"], told["host"]) == ("task.cancelled", "pending", "erp.example")
    assert (told["tries"], told["attempts"]) == (0, [])
    assert b"secret" not in answer.content


async def test_tries_are_told_and_replies_shown_to_operators(api: Api, store: Store) -> None:
    delivery = await delivered(api)
    await deliver(store, int(delivery["id"]))

    told = (await api.get(f"/v1/deliveries/{delivery['id']}")).json

    (made,) = told["attempts"]
    assert (told["status"], told["tries"], told["delivered_at"] is None) == ("delivered", 1, False)
    assert (made["attempt"], made["status_code"], made["duration_ms"]) == (1, 200, 12.5)
    assert made["reply"] == "thank you"


async def test_an_ended_delivery_is_sent_again(api: Api, store: Store, valkey: PrivateValkey) -> None:
    delivery = await delivered(api)
    await deliver(store, int(delivery["id"]))

    answer = await api.post(f"/v1/deliveries/{delivery['id']}/replay")

    assert (answer.status, answer.json["status"], answer.json["tries"]) == (202, "pending", 0)
    with valkey.client() as client:
        assert client.zcard("mst:{delivery}:ready") >= 1


async def test_deliveries_can_be_narrowed(api: Api) -> None:
    delivery = await delivered(api)

    async def found(query: str) -> list[str]:
        return [one["id"] for one in (await api.get(f"/v1/deliveries?{query}")).json["items"]]

    assert await found("status=pending") == [delivery["id"]]
    assert await found("status=dead") == []
    assert await found("host=erp.example") == [delivery["id"]]
    assert await found("task_id=1") == []


@pytest.mark.parametrize(
    ("query", "pointer"),
    [("status=x", "/status"), ("task_id=x", "/task_id"), ("host=", "/host"), ("url=x", "/url")],
)
async def test_a_wrong_filter_of_deliveries_is_refused(api: Api, query: str, pointer: str) -> None:
    answer = await api.get(f"/v1/deliveries?{query}")

    assert (answer.status, answer.pointers) == (422, [pointer])


async def test_pages_of_deliveries_follow_each_other(api: Api) -> None:
    made = [(await delivered(api))["id"] for _ in range(3)]

    first = (await api.get("/v1/deliveries?page_size=2")).json
    second = (await api.get(f"/v1/deliveries?page_size=2&page_token={first['next_page_token']}")).json

    assert [one["id"] for one in (*first["items"], *second["items"])] == list(reversed(made))
    assert second["next_page_token"] is None


async def test_a_delivery_that_is_still_tried_cannot_be_replayed(api: Api) -> None:
    delivery = await delivered(api)

    answer = await api.post(f"/v1/deliveries/{delivery['id']}/replay")

    assert (answer.status, answer.json["code"]) == (409, "task_not_final")


@pytest.mark.parametrize("identity", ["1", "x", "9223372036854775807"])
async def test_a_delivery_that_is_not_there_is_not_found(api: Api, identity: str) -> None:
    answers = [
        await api.get(f"/v1/deliveries/{identity}"),
        await api.post(f"/v1/deliveries/{identity}/replay"),
    ]

    assert [answer.json["code"] for answer in answers] == ["not_found"] * 2


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
