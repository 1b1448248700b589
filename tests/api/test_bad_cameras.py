"""Cameras that cannot be looked at: their number, areas, sizes, times and urls."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.api import Api, camera, submission
from tests.support.refusals import fault, with_camera

SQUARE = [[0, 0], [100, 0], [100, 100], [0, 100]]
LONG_URL = "https://cams.example/" + "a" * 3000


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
