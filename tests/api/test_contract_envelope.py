"""What the envelope profile requires is there and not null; every fault is told at once."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.api import Api, camera, submission

CAMERA = camera(camera_size=[100, 100], monitor_areas=[], capture_time="2026-11-22 07:30:00")


def request(**changes: Any) -> dict[str, Any]:
    """Give a request of the profile that is good as it is."""
    return submission(callback_url="https://erp.example/hook", cameras=[CAMERA]) | changes


@pytest.mark.parametrize("name", ["business_id", "system_code", "callback_url", "prompt", "cameras"])
async def test_null_is_no_value_of_a_required_field(api: Api, name: str) -> None:
    told = (await api.post("/recognition", request(**{name: None}))).json

    assert (told["code"], told["success"]) == (422, False)
    assert [fault["pointer"] for fault in told["data"]["errors"]] == [f"/{name}"]


@pytest.mark.parametrize("name", list(CAMERA))
async def test_null_is_no_value_of_a_cameras_field(api: Api, name: str) -> None:
    told = (await api.post("/recognition", request(cameras=[CAMERA | {name: None}]))).json

    assert (told["code"], told["success"]) == (422, False)
    assert [fault["pointer"] for fault in told["data"]["errors"]] == [f"/cameras/0/{name}"]


async def test_what_is_missing_is_told_with_all_other_faults(api: Api) -> None:
    told = (await api.post("/recognition", request(callback_url=None, prompt="DRAGON", priority=77))).json

    pointers = {fault["pointer"] for fault in told["data"]["errors"]}
    assert pointers == {"/callback_url", "/prompt", "/priority"}
