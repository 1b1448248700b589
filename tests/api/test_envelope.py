"""The envelope profile: HTTP 200 in every case, the same service behind it."""

from __future__ import annotations

from typing import Any

import pytest

from core.domain.task import CallbackShape
from tests.support.api import Api, camera, row_of, submission
from tests.support.store import Store

CAMERA = camera(camera_size=[100, 100], monitor_areas="[]", capture_time="2026-11-22 07:30:00")


def request(**changes: Any) -> dict[str, Any]:
    """Give a request of the profile that is good as it is."""
    return submission(callback_url="https://erp.example/hook", cameras=[CAMERA]) | changes


async def test_a_task_is_accepted(api: Api, store: Store) -> None:
    answer = await api.post("/recognition", request())

    told = answer.json
    assert answer.status == 200
    assert (told["code"], told["message"], told["success"]) == (200, "", True)
    assert told["data"] == {"id": told["data"]["id"], "task_status": "pending", "position": 1}
    assert (await row_of(store, told["data"])).callback_shape is CallbackShape.ENVELOPE


async def test_a_task_is_read_by_its_id_and_by_that_of_a_picture(api: Api) -> None:
    identity = (await api.post("/recognition", request())).json["data"]["id"]

    by_task = (await api.get(f"/recognition/{identity}")).json
    picture = by_task["data"]["recognition_list"][0]
    by_picture = (await api.get(f"/recognition/{picture['id']}")).json

    assert (by_task["code"], by_task["data"]["id"]) == (200, identity)
    assert by_picture == by_task
    assert picture["capture_time"] == "2026-11-22 07:30:00"
    assert (picture["camera_size"], picture["monitor_areas"]) == ([100, 100], [])
    assert (picture["task_status"], picture["recognition_result"]) == ("pending", None)


@pytest.mark.parametrize("name", ["business_id", "system_code", "callback_url", "prompt", "cameras"])
async def test_every_field_is_required(api: Api, name: str) -> None:
    body = request()
    del body[name]

    told = (await api.post("/recognition", body)).json

    assert (told["code"], told["success"]) == (422, False)
    assert told["message"].startswith(f"{name}: is required")
    assert told["data"]["errors"][0]["pointer"] == f"/{name}"


@pytest.mark.parametrize("name", list(CAMERA))
async def test_every_field_of_a_camera_is_required(api: Api, name: str) -> None:
    own = dict(CAMERA)
    del own[name]

    told = (await api.post("/recognition", request(cameras=[own]))).json

    assert told["code"] == 422
    assert told["data"]["errors"][0]["pointer"] == f"/cameras/0/{name}"


async def test_an_unknown_prompt_is_refused_in_the_message(api: Api) -> None:
    told = (await api.post("/recognition", request(prompt="DRAGON"))).json

    assert told["code"] == 422
    assert told["message"].startswith("prompt: DRAGON is not known")
    assert "ALL, COW" in told["message"]


@pytest.mark.parametrize(
    ("method", "path", "content", "code"),
    [
        ("POST", "/recognition", b"{", 400),
        ("POST", "/recognition", b"x" * 2_000_000, 413),
        ("GET", "/recognition/1", None, 404),
        ("GET", "/recognition/x", None, 404),
        ("DELETE", "/recognition/1", None, 405),
    ],
)
async def test_every_refusal_is_an_envelope_too(
    api: Api, method: str, path: str, content: bytes | None, code: int
) -> None:
    headers = {"Content-Type": "application/json"}

    answer = await api.ask(method, path, content=content, headers=headers)

    assert answer.status == 200
    assert (answer.json["code"], answer.json["success"]) == (code, False)
    assert answer.json["message"]


async def test_a_body_of_another_type_is_refused(api: Api) -> None:
    told = (await api.post("/recognition", b"a=1", Content_Type="text/plain")).json

    assert told["code"] == 415


async def test_an_idempotency_key_is_good_here_too(api: Api) -> None:
    first = (await api.post("/recognition", request(), Idempotency_Key="k")).json
    again = (await api.post("/recognition", request(), Idempotency_Key="k")).json

    assert first["data"]["id"] == again["data"]["id"]
