"""Submitting tasks: accepted, repeated, in place of others, many at once."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from core.clock import utc_now
from core.domain.delivery import DEFAULT_EVENTS
from core.settings import Settings
from tests.support.api import Api, camera, changed, open_api, row_of, submission
from tests.support.store import Store
from tests.support.valkey import PrivateValkey

SQUARE = [[0, 0], [100, 0], [100, 100], [0, 100]]
SHIFTS = [
    {"name": "day", "start": "08:00", "end": "18:00", "model": "ssdlite"},
    {"name": "night", "start": "18:00", "end": "08:00", "model": "picture"},
]


async def test_a_task_is_accepted_and_can_be_read(api: Api) -> None:
    answer = await api.post("/v1/tasks", submission())

    task = answer.json
    assert answer.status == 202
    assert answer.headers["Location"] == f"/v1/tasks/{task['id']}"
    assert (task["status"], task["queue"]["position"], task["queue"]["ahead"]) == ("pending", 1, 0)
    assert (await api.get(f"/v1/tasks/{task['id']}")).json == task


async def test_everything_asked_reaches_the_row(api: Api, store: Store) -> None:
    task = await api.accepted(
        submission(
            prompt=" cow ",
            callback_url="https://erp.example/muster",
            callback_events=["task.failed", "task.completed", "task.failed"],
            priority=0,
            queue_ttl_seconds=60,
            timeout_seconds=600,
            model="ssdlite",
            min_score=0.05,
            dedup={"key": "gate-3", "mode": "replace"},
            metadata={"shift": "früh", "n": [1, None]},
            cameras=[
                camera(camera_size=[768, 1024], monitor_areas=[SQUARE], capture_time="2026-11-22 07:30:00"),
                camera(camera_id="gate-4", monitor_areas=str(SQUARE).join("[]")),
            ],
        ),
        traceparent="00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        Idempotency_Key="k-1",
    )

    row = await row_of(store, task)
    first, second = row.recognitions
    assert (row.prompt, row.priority, row.model, row.min_score) == ("COW", 0, "ssdlite", 0.05)
    assert (row.timeout_seconds, row.queue_ttl_seconds) == (600, 60)
    assert row.callback_events == ("task.failed", "task.completed")
    assert row.metadata == {"shift": "früh", "n": [1, None]}
    assert (row.dedup_key, row.dedup_mode, row.idempotency_key) == ("gate-3", "replace", "k-1")
    assert row.traceparent == "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    assert row.cost == 2
    assert first.camera_size == (768, 1024)
    assert first.capture_time.isoformat() == "2026-11-22T06:30:00+00:00"
    assert first.monitor_areas == second.monitor_areas == (((0, 0), (100, 0), (100, 100), (0, 100)),)


async def test_what_is_not_asked_has_its_default(api: Api, store: Store) -> None:
    task = await api.accepted()

    row = await row_of(store, task)
    assert (row.priority, row.timeout_seconds, row.queue_ttl_seconds) == (5, 60, 86400)
    assert (row.model, row.min_score, row.callback_url) == (None, None, None)
    assert row.callback_events == DEFAULT_EVENTS
    assert abs(row.recognitions[0].capture_time - utc_now()) < timedelta(minutes=1)
    assert task["recognitions"][0]["model"] == "ssdlite"


@pytest.mark.parametrize(
    ("time", "model"),
    [
        ("2026-07-01 07:59:59", "picture"),
        ("2026-07-01 08:00:00", "ssdlite"),
        ("2026-07-01T15:59:59Z", "ssdlite"),
        ("2026-07-01T16:00:00Z", "picture"),
        ("2026-07-01T18:00:00+02:00", "picture"),
        ("2026-07-01t17:59:59.999+02:00", "ssdlite"),
    ],
)
async def test_the_time_of_capture_on_the_sites_clock_chooses_the_model(
    settings: Settings, time: str, model: str
) -> None:
    async with open_api(changed(settings, routing=SHIFTS)) as api:
        task = await api.accepted(submission(prompt="ALL", cameras=[camera(capture_time=time)]))

    assert task["recognitions"][0]["model"] == model


async def test_the_prompt_must_be_known_to_the_model_of_every_camera(settings: Settings) -> None:
    cameras = [camera(capture_time=f"2026-07-01 {hour}:00:00") for hour in ("09", "23")]
    async with open_api(changed(settings, routing=SHIFTS)) as api:
        answer = await api.post("/v1/tasks", submission(cameras=cameras))

    assert (answer.status, answer.json["code"], answer.pointers) == (422, "unknown_prompt", ["/prompt"])
    assert "picture" in answer.json["errors"][0]["detail"]


async def test_the_position_is_the_order_of_service(api: Api) -> None:
    first = await api.accepted(submission(priority=5))
    urgent = await api.accepted(submission(priority=0))

    now = await api.get(f"/v1/tasks/{first['id']}")

    assert first["queue"]["position"] == 1
    assert urgent["queue"]["position"] == 1
    assert (now.json["queue"]["position"], now.json["queue"]["ahead"]) == (2, 1)
    assert now.json["queue"]["eta_seconds"] is None


async def test_a_batch_answers_each_item_in_its_place(api: Api, store: Store) -> None:
    good = submission(cameras=[camera(monitor_areas=[SQUARE])])
    items = [good, submission(priority=10), "text", submission(prompt="DRAGON"), good]

    answer = await api.post("/v1/tasks/batch", {"items": items})

    found = answer.json["items"]
    assert answer.status == 200
    assert [item["status"] for item in found] == [202, 422, 422, 422, 202]
    assert found[1]["problem"]["errors"][0]["pointer"] == "/priority"
    assert found[3]["problem"]["code"] == "unknown_prompt"
    assert found[0]["task"]["id"] != found[4]["task"]["id"]
    assert await store.count("task") == 2


async def test_a_batch_may_be_sent_again_under_its_key(api: Api, store: Store) -> None:
    body = {"items": [submission(), submission()]}

    first = await api.post("/v1/tasks/batch", body, Idempotency_Key="b-1")
    again = await api.post("/v1/tasks/batch", body, Idempotency_Key="b-1")

    ids = [[item["task"]["id"] for item in answer.json["items"]] for answer in (first, again)]
    assert ids[0] == ids[1]
    assert [item["status"] for item in again.json["items"]] == [200, 200]
    assert await store.count("task") == 2


@pytest.mark.parametrize(
    ("body", "pointer"),
    [({"items": []}, "/items"), ({"items": [1] * 501}, "/items"), ({}, "/items"), ([], "")],
)
async def test_a_batch_of_a_wrong_form_is_refused_as_a_whole(api: Api, body: Any, pointer: str) -> None:
    answer = await api.post("/v1/tasks/batch", body)

    assert (answer.status, answer.pointers) == (422, [pointer])


async def test_a_task_is_accepted_while_redis_is_away(api: Api, valkey: PrivateValkey) -> None:
    valkey.kill()
    try:
        task = await api.accepted()
        again = await api.get(f"/v1/tasks/{task['id']}")
    finally:
        valkey.start()

    assert task["queue"] is None
    assert (again.status, again.json["queue"]) == (200, None)


async def test_without_a_database_nothing_is_accepted_and_the_caller_told_when_to_return(
    settings: Settings, tmp_path: Any
) -> None:
    empty = {"url": f"sqlite+aiosqlite:///{tmp_path}/empty.db"}
    async with open_api(changed(settings, database=empty)) as api:
        answers = [
            await api.post("/v1/tasks", submission()),
            await api.get("/v1/tasks/7391224518873088"),
            await api.get("/v1/tasks"),
            await api.get("/v1/workers"),
        ]

    assert [(answer.status, answer.json["code"]) for answer in answers] == [(503, "database_unavailable")] * 4
    assert all(int(answer.headers["Retry-After"]) >= 1 for answer in answers)
