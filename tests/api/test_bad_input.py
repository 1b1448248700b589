"""Bad input: each kind gets its own clear answer, and nothing is stored."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.support.api import Answer, Api, camera, submission
from tests.support.store import Store

SQUARE = [[0, 0], [100, 0], [100, 100], [0, 100]]
LONG_URL = "https://cams.example/" + "a" * 3000


async def refused(api: Api, body: Any, status: int, code: str) -> Answer:
    """Submit and require a problem of that kind."""
    answer = await api.post("/v1/tasks", body)
    problem = answer.json
    assert (answer.status, problem["code"]) == (status, code), problem
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert problem["type"] == f"urn:muster:problem:{code}"
    assert problem["status"] == status
    assert problem["instance"] == "/v1/tasks"
    assert problem["request_id"] == answer.headers["X-Request-Id"]
    return answer


async def fault(api: Api, body: Any, code: str = "validation_failed") -> tuple[str, str]:
    """Submit and require one fault; give its pointer and detail."""
    answer = await refused(api, body, 422, code)
    (found,) = answer.json["errors"]
    return found["pointer"], found["detail"]


def with_camera(**changes: Any) -> dict[str, Any]:
    return submission(cameras=[camera(**changes)])


@pytest.mark.parametrize(
    ("body", "remedy"),
    [
        (b'{"business_id": ', "line 1"),
        (b"", "empty"),
        (b'{"a": 1} x', "line 1"),
        (b"\xff\xfe", "UTF-8"),
        (b'{"a": 1, "a": 2}', "same key twice"),
        (b'{"a": NaN}', "NaN"),
        (b'{"a": -Infinity}', "Infinity"),
        (b'{"a": 1e999}', "too large"),
        (b'{"a": 18446744073709551616}', "too large"),
        (b'{"a": ' + b"9" * 5000 + b"}", "too large"),
        (b'{"a": "\\ud800"}', "surrogate"),
        (b'{"\\u0000": 1}', "NUL"),
        (b"[" * 9 + b"]" * 9, "8 levels"),
        (b"[" * 500_000, "8 levels"),
        (b'{"a": "\t"}', "control character"),
    ],
)
async def test_malformed_json_is_refused_and_says_where(api: Api, body: bytes, remedy: str) -> None:
    answer = await refused(api, body, 400, "malformed_json")

    assert remedy in answer.json["detail"]


async def test_brackets_within_a_text_are_no_nesting(api: Api) -> None:
    await api.accepted(submission(metadata={"drawing": '\\"[[[[[[[[[[{{{{{{{{{{'}))


async def test_a_body_above_the_limit_is_refused(api: Api) -> None:
    body = json.dumps(submission(metadata={"a": "x" * 1_048_576})).encode()

    answer = await refused(api, body, 413, "body_too_large")

    assert "1048576" in answer.json["detail"]


async def test_a_body_that_is_not_json_is_refused_and_says_what_to_send(api: Api) -> None:
    answer = await api.post("/v1/tasks", b"a=1", Content_Type="application/x-www-form-urlencoded")

    assert (answer.status, answer.json["code"]) == (415, "not_json")
    assert "application/json" in answer.json["detail"]


@pytest.mark.parametrize("body", [b"[]", b'"text"', b"1", b"null"])
async def test_a_body_that_is_no_object_is_refused(api: Api, body: bytes) -> None:
    assert await fault(api, body) == ("", "must be an object")


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

    assert (pointer, "picture; known: ALL" in detail) == ("/prompt", True)


async def test_an_unknown_model_is_refused_and_the_known_ones_are_listed(api: Api) -> None:
    pointer, detail = await fault(api, submission(model="oracle"), "unknown_model")

    assert pointer == "/model"
    assert "picture, ssdlite" in detail


@pytest.mark.parametrize(("number", "limit"), [(0, "1"), (101, "100")])
async def test_there_must_be_1_to_100_cameras(api: Api, number: int, limit: str) -> None:
    pointer, detail = await fault(api, submission(cameras=[camera()] * number))

    assert (pointer, limit in detail) == ("/cameras", True)


async def test_100_cameras_are_accepted(api: Api) -> None:
    task = await api.accepted(submission(cameras=[camera()] * 100))

    assert task["images"]["total"] == 100


@pytest.mark.parametrize(
    ("areas", "at", "remedy"),
    [
        ([[[0, 0], [1, 1]]], "/0", "3"),
        ([SQUARE, [[0, 0], [1, 1], [1]]], "/1/2", "2"),
        ([SQUARE, [[0, 0], [1, 1], [1, 2, 3]]], "/1/2", "2"),
        ([[[0, 0], [1, 1], [1, "2"]]], "/0/2/1", "number"),
        ([[[0, 0], [1, 1], [1, None]]], "/0/2/1", "number"),
        ({"x": 1}, "", "list"),
        ("not json", "", "[[[x, y]"),
        ("[[[0, 0], [1, 1], [NaN, 2]]]", "", "[[[x, y]"),
        ("[[[0, 0], [1, 1], [1e999, 2]]]", "", "[[[x, y]"),
        ("[" * 50, "", "[[[x, y]"),
        ("[[[0, 0], [1, 1]]]", "/0", "3"),
    ],
)
async def test_a_wrong_polygon_is_refused(api: Api, areas: Any, at: str, remedy: str) -> None:
    pointer, detail = await fault(api, with_camera(monitor_areas=areas))

    assert (pointer, remedy in detail) == (f"/cameras/0/monitor_areas{at}", True), detail


@pytest.mark.parametrize("areas", [[SQUARE, [[0, 0], [50, 50], [101, 50]]], "[[[0,0],[1,1],[1,-0.5]]]"])
async def test_a_polygon_outside_camera_size_is_refused_and_the_bounds_are_told(api: Api, areas: Any) -> None:
    pointer, detail = await fault(api, with_camera(camera_size=[100, 100], monitor_areas=areas))

    assert pointer in ("/cameras/0/monitor_areas/1/2", "/cameras/0/monitor_areas/0/2")
    assert "0..100" in detail


@pytest.mark.parametrize(
    "size", [[0, 100], [100, 0], [-1, 100], [100], [1, 2, 3], ["1", 2], "100x100", [1.5, 2]]
)
async def test_a_wrong_camera_size_is_refused(api: Api, size: Any) -> None:
    pointer, _ = await fault(api, with_camera(camera_size=size))

    assert pointer.startswith("/cameras/0/camera_size")


@pytest.mark.parametrize(
    "time",
    [
        "2026-02-30 08:00:00",
        "2026-02-30T08:00:00Z",
        "2026-13-01 08:00:00",
        "2026-11-22 24:00:01",
        "yesterday",
        "2026-11-22",
        "2026-11-22T08:00:00",
        "0001-01-01T00:00:00Z",
        1795000000,
    ],
)
async def test_a_capture_time_that_is_none_is_refused(api: Api, time: Any) -> None:
    pointer, _ = await fault(api, with_camera(capture_time=time))

    assert pointer == "/cameras/0/capture_time"


@pytest.mark.parametrize(
    ("url", "remedy"),
    [
        ("file:///etc/passwd", "http://"),
        ("ftp://cams.example/a.jpg", "http://"),
        ("https://user:secret@cams.example/a.jpg", "user name or password"),
        (LONG_URL, "2048"),
        ("cams.example/a.jpg", "http://"),
        ("https://", "host"),
        ("https://cams.example:8443/a.jpg", "443"),
        ("https://cams.example/a b.jpg", "%"),
        ("upload:../../etc/passwd", "upload"),
        ("upload:" + "0" * 31, "upload"),
        ("", "1"),
    ],
)
async def test_a_url_that_cannot_be_fetched_is_refused(api: Api, url: str, remedy: str) -> None:
    pointer, detail = await fault(api, with_camera(image_url=url))

    assert (pointer, remedy in detail) == ("/cameras/0/image_url", True), detail
    assert "secret" not in detail


@pytest.mark.parametrize("host", ["127.0.0.1", "192.168.0.7", "[::1]", "169.254.169.254", "0x7f000001"])
async def test_a_picture_at_a_private_address_is_refused(api: Api, host: str) -> None:
    body = with_camera(image_url=f"http://{host}/a.jpg")

    pointer, _ = await fault(api, body, "image_blocked_address")

    assert pointer == "/cameras/0/image_url"


async def test_a_private_camera_network_names_the_setting_that_allows_it(api: Api) -> None:
    body = with_camera(image_url="http://192.168.0.7/a.jpg")

    _, detail = await fault(api, body, "image_blocked_address")

    assert "MUSTER_FETCH_ALLOW" in detail


@pytest.mark.parametrize("host", ["127.0.0.1", "10.0.0.1", "[fd00::1]"])
async def test_a_callback_to_a_private_address_is_refused(api: Api, host: str) -> None:
    pointer, _ = await fault(api, submission(callback_url=f"http://{host}/hook"), "callback_blocked_address")

    assert pointer == "/callback_url"


async def test_an_upload_is_no_place_to_call_back(api: Api) -> None:
    pointer, _ = await fault(api, submission(callback_url="upload:" + "0" * 32))

    assert pointer == "/callback_url"


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
