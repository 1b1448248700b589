"""Bad input: each kind gets its own clear answer, and nothing is stored."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.api import Api, camera, submission
from tests.support.refusals import fault, refused, with_camera
from tests.support.store import Store


@pytest.mark.parametrize("name", ["business_id", "prompt", "cameras", "system_code"])
async def test_a_missing_field_is_named(api: Api, name: str) -> None:
    pointer, detail = await fault(api, submission(**{name: ...}))

    assert (pointer, "required" in detail) == (f"/{name}", True)


@pytest.mark.parametrize(
    ("name", "value", "remedy"),
    [
        ("business_id", 7, "string"),
        ("business_id", "", "1"),
        ("business_id", "b" * 65, "64"),
        ("system_code", "north ranch", "A-Z"),
        ("system_code", "s" * 21, "20"),
        ("prompt", ["COW"], "string"),
        ("cameras", {}, "list"),
        ("priority", "5", "integer"),
        ("priority", True, "integer"),
        ("priority", 10, "9"),
        ("priority", -1, "0"),
        ("queue_ttl_seconds", 0, "1"),
        ("queue_ttl_seconds", 604801, "604800"),
        ("timeout_seconds", 601, "600"),
        ("timeout_seconds", 1.5, "integer"),
        ("min_score", 0.01, "0.05"),
        ("min_score", 1, "0.99"),
        ("min_score", "0.5", "number"),
        ("callback_events", "task.completed", "list"),
        ("metadata", [], "object"),
        ("metadata", {"a": "x" * 8192}, "8192"),
        ("dedup", "gate-3", "object"),
        ("callback_url", 1, "string"),
    ],
)
async def test_a_wrong_value_is_named_with_what_would_be_right(
    api: Api, name: str, value: Any, remedy: str
) -> None:
    pointer, detail = await fault(api, submission(**{name: value}))

    assert (pointer, remedy in detail) == (f"/{name}", True), detail


async def test_an_unknown_event_is_refused_and_the_known_ones_are_listed(api: Api) -> None:
    pointer, detail = await fault(api, submission(callback_events=["task.completed", "task.done"]))

    assert pointer == "/callback_events/1"
    assert "task.completed, task.failed" in detail


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        (submission(colour="red"), "/colour"),
        (with_camera(colour="red"), "/cameras/0/colour"),
        (submission(dedup={"key": "k", "mode": "replace", "a/b~c": 1}), "/dedup/a~1b~0c"),
    ],
)
async def test_an_unknown_field_is_refused(api: Api, body: Any, pointer: str) -> None:
    found, detail = await fault(api, body)

    assert (found, "not a known field" in detail) == (pointer, True)


async def test_all_faults_are_listed_at_once(api: Api) -> None:
    body = submission(
        business_id="",
        colour="red",
        priority=10,
        prompt="DRAGON",
        callback_url="ftp://erp.example/",
        cameras=[
            camera(image_url="file:///etc/passwd", camera_size=[0, -1]),
            camera(camera_id=7, capture_time="2026-02-30 08:00:00"),
            camera(camera_size=[100, 100], monitor_areas=[[[0, 0], [101, 0], [0, 100]], [[0, 0], [1, 1]]]),
        ],
    )

    answer = await refused(api, body, 422, "validation_failed")

    assert sorted(answer.pointers) == [
        "/business_id",
        "/callback_url",
        "/cameras/0/camera_size/0",
        "/cameras/0/camera_size/1",
        "/cameras/0/image_url",
        "/cameras/1/camera_id",
        "/cameras/1/capture_time",
        "/cameras/2/monitor_areas/0/1",
        "/cameras/2/monitor_areas/1",
        "/colour",
        "/priority",
        "/prompt",
    ]


async def test_an_unknown_prompt_is_refused_and_the_known_ones_are_listed(api: Api) -> None:
    pointer, detail = await fault(api, submission(prompt="dragon"), "unknown_prompt")

    assert pointer == "/prompt"
    assert detail.startswith("DRAGON is not known")
    assert "ALL, COW, SHEEP" in detail


async def test_a_prompt_unknown_to_the_model_that_was_asked_for_is_refused(api: Api) -> None:
    pointer, detail = await fault(api, submission(model="picture"), "unknown_prompt")

    assert (pointer, "COW is not known; known: ALL (model picture)" in detail) == ("/prompt", True)


async def test_an_unknown_model_is_refused_and_the_known_ones_are_listed(api: Api) -> None:
    pointer, detail = await fault(api, submission(model="oracle"), "unknown_model")

    assert pointer == "/model"
    assert "picture, ssdlite" in detail


@pytest.mark.parametrize(
    "dedup", [{"key": "", "mode": "replace"}, {"key": "k ", "mode": "replace"}, {"key": "k"}]
)
async def test_a_wrong_dedup_is_refused(api: Api, dedup: Any) -> None:
    pointer, _ = await fault(api, submission(dedup=dedup))

    assert pointer.startswith("/dedup/")


async def test_an_unknown_dedup_mode_is_refused_and_the_known_ones_are_listed(api: Api) -> None:
    pointer, detail = await fault(api, submission(dedup={"key": "k", "mode": "newest"}))

    assert pointer == "/dedup/mode"
    assert "keep_first" in detail


@pytest.mark.parametrize("key", ["", "k" * 129, "two words", "schlüssel"])
async def test_a_wrong_idempotency_key_is_refused(api: Api, key: str) -> None:
    answer = await api.post("/v1/tasks", submission(), Idempotency_Key=key)

    assert (answer.status, answer.json["code"]) == (422, "validation_failed")
    assert "1 to 128 visible" in answer.json["errors"][0]["detail"]


async def test_nothing_that_was_refused_is_stored(api: Api, store: Store) -> None:
    await api.post("/v1/tasks", submission(priority=10))
    await api.post("/v1/tasks", b"{")

    assert await store.count("task") == 0
    assert await store.count("system") == 0
