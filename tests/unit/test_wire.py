"""Answers and callbacks tell a task as the contract says."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import Any
from urllib.parse import parse_qs, urlsplit
from zoneinfo import ZoneInfo

import pytest

from core.domain.delivery import EventType
from core.domain.envelope import envelope_body
from core.domain.links import Links
from core.domain.recognition import ErrorNote
from core.domain.task import CallbackShape, Task, TaskStatus
from core.domain.wire import QueueView, TaskView, event_body, rfc3339
from tests.support.tasks import FIRST_ID, MOMENT, TASK_ID, failed, recognised, some_recognition, some_task

LINKS = Links(public_url="https://muster.example", key=b"k" * 32, ttl_seconds=3600)
BERLIN = ZoneInfo("Europe/Berlin")
PATH = f"/v1/tasks/{TASK_ID}"
ENDED = (recognised(some_recognition()), failed(some_recognition(position=1)))


def told(task: Task, queue: QueueView | None = None) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads(TaskView.of(task, queue=queue).to_bytes())
    return answer


def expires_and_signature(url: str) -> tuple[int, str]:
    query = parse_qs(urlsplit(url).query)
    return int(query["expires"][0]), query["signature"][0]


def test_a_waiting_task_is_told_in_full() -> None:
    answer = told(some_task(), QueueView(position=3, ahead=2, eta_seconds=1.5))

    open_picture = answer["recognitions"][0]
    assert answer == {
        "id": str(TASK_ID),
        "status": "pending",
        "business_id": "patrol-0717",
        "system_code": "north-ranch",
        "prompt": "COW",
        "priority": 3,
        "attempt": 0,
        "created_at": "2026-11-22T07:30:00.123Z",
        "started_at": None,
        "completed_at": None,
        "error": None,
        "metadata": {"shift": "früh", "nested": {"list": [1, 2.5, None, True]}},
        "queue": {"position": 3, "ahead": 2, "eta_seconds": 1.5, "limited_by": None},
        "images": {"total": 2, "completed": 0, "failed": 0},
        "next_attempt_at": None,
        "task_num": 0,
        "recognitions": [open_picture, answer["recognitions"][1]],
        "urls": {"self": PATH, "cancel": f"{PATH}/cancel"},
    }
    assert open_picture == {
        "id": str(FIRST_ID),
        "camera_id": "gate-0",
        "status": "pending",
        "model": "ssdlite",
        "image": None,
        "counts": {},
        "areas": [],
        "total": None,
        "objects": [],
        "recognition_url": None,
        "timings_ms": {},
        "error": None,
    }


def test_what_was_found_and_what_failed_is_told() -> None:
    answer = told(some_task(TaskStatus.COMPLETED, recognitions=ENDED))

    found, lost = answer["recognitions"]
    assert answer["images"] == {"total": 2, "completed": 1, "failed": 1}
    assert answer["task_num"] == 2
    assert found["image"] == {"width": 1024, "height": 768, "channels": 3}
    assert (found["counts"], found["total"]) == ({"COW": 2}, 2)
    assert found["areas"] == [{"index": 0, "counts": {"COW": 2}}]
    assert found["objects"][0] == {"label": "COW", "score": 0.97, "box": [242, 284, 940, 704], "areas": [0]}
    assert found["recognition_url"] == f"{PATH}/recognitions/{FIRST_ID}/image"
    assert lost["status"] == "failed"
    assert lost["error"]["code"] == "image_http_status"
    assert lost["recognition_url"] is None


@pytest.mark.parametrize("status", [status for status in TaskStatus if status is not TaskStatus.PENDING])
def test_only_a_waiting_task_has_a_place_in_the_queue(status: TaskStatus) -> None:
    assert told(some_task(status), QueueView(position=1, ahead=0, eta_seconds=None))["queue"] is None


def test_times_are_utc_with_milliseconds_whatever_their_zone() -> None:
    east = datetime(2026, 11, 22, 9, 30, tzinfo=timezone(timedelta(hours=2)))

    assert rfc3339(east) == "2026-11-22T07:30:00.000Z"


def test_a_task_that_is_not_stored_cannot_be_told() -> None:
    with pytest.raises(ValueError, match="not been accepted"):
        TaskView.of(replace(some_task(), created_at=None))


def test_a_callback_tells_the_event_and_the_task_with_absolute_links() -> None:
    task = some_task(TaskStatus.COMPLETED, recognitions=ENDED)

    body = json.loads(event_body(task, EventType.COMPLETED, at=MOMENT, links=LINKS))

    link = body["data"]["recognitions"][0]["recognition_url"]
    assert (body["type"], body["timestamp"]) == ("task.completed", "2026-11-22T07:30:00.123Z")
    assert body["data"]["urls"] == {
        "self": f"https://muster.example{PATH}",
        "cancel": f"https://muster.example{PATH}/cancel",
    }
    assert link.startswith(f"https://muster.example{PATH}/recognitions/{FIRST_ID}/image?")
    assert LINKS.verify(TASK_ID, FIRST_ID, *expires_and_signature(link), now=MOMENT)


def test_a_link_is_good_for_its_picture_and_its_time_only() -> None:
    expires, signature = expires_and_signature(LINKS.image(TASK_ID, FIRST_ID, now=MOMENT))

    assert LINKS.verify(TASK_ID, FIRST_ID, expires, signature, now=MOMENT + timedelta(seconds=3599))
    assert not LINKS.verify(TASK_ID, FIRST_ID, expires, signature, now=MOMENT + timedelta(seconds=3601))
    assert not LINKS.verify(TASK_ID, FIRST_ID + 1, expires, signature, now=MOMENT)
    assert not LINKS.verify(TASK_ID + 1, FIRST_ID, expires, signature, now=MOMENT)
    assert not LINKS.verify(TASK_ID, FIRST_ID, expires + 1, signature, now=MOMENT)
    assert not replace(LINKS, key=b"x" * 32).verify(TASK_ID, FIRST_ID, expires, signature, now=MOMENT)


@pytest.mark.parametrize("signature", ["", "é" * 64, "0" * 64, "0" * 10_000])
def test_a_made_up_signature_is_refused(signature: str) -> None:
    assert not LINKS.verify(TASK_ID, FIRST_ID, 2**40, signature, now=MOMENT)


def test_the_key_of_links_is_not_printed() -> None:
    assert "kkk" not in repr(LINKS)


def test_an_envelope_tells_the_task_in_flat_names_on_the_clock_of_the_site() -> None:
    task = some_task(TaskStatus.COMPLETED, shape=CallbackShape.ENVELOPE, recognitions=ENDED)

    body = json.loads(envelope_body(task, at=MOMENT, links=LINKS, zone=BERLIN))

    data = body["data"]
    found, lost = data.pop("recognition_list")
    assert (body["code"], body["message"], body["success"]) == (200, "", True)
    assert data == {
        "id": str(TASK_ID),
        "create_time": "2026-11-22 08:30:00",
        "business_id": "patrol-0717",
        "system_code": "north-ranch",
        "callback_url": "https://erp.example/muster",
        "prompt": "COW",
        "task_status": "completed",
        "task_num": 2,
    }
    assert found.keys() == {
        "id", "camera_id", "camera_size", "monitor_areas", "capture_time", "image_url", "model",
        "task_status", "recognition_url", "recognition_result", "recognition_time", "completion_time",
        "error_msg",
    }  # fmt: skip
    assert found["capture_time"] == "2026-11-22 08:29:00"
    assert found["camera_size"] == [768, 1024]
    assert found["recognition_result"]["counts"] == {"COW": 2}
    assert (found["recognition_time"], found["error_msg"]) == ("2026-11-22 08:30:00", "")
    assert lost["recognition_result"] is None
    assert lost["error_msg"] == "The picture's server answered with status 404."


@pytest.mark.parametrize("status", [TaskStatus.FAILED, TaskStatus.CANCELLED, TaskStatus.EXPIRED])
def test_an_envelope_of_a_task_without_success_says_so(status: TaskStatus) -> None:
    task = some_task(status, error=ErrorNote(code="worker_lost", message="Its worker was lost."))

    body = json.loads(envelope_body(task, at=MOMENT, links=LINKS, zone=BERLIN))

    assert (body["code"], body["success"], body["message"]) == (500, False, "Its worker was lost.")
