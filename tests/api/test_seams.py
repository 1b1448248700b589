"""What a caller asked stays what it was on every conversion between request and answer, one and many."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from app.auth import ANYBODY
from app.schemas.faults import Meaning
from app.schemas.reading import Asked, read_batch, read_task
from app.schemas.submission import TaskIn
from core.catalogue import load_catalogue
from core.domain.delivery import EventType
from core.domain.links import Links
from core.domain.message import TaskMessage
from core.domain.promises import Promises
from core.domain.recognition import Recognition
from core.domain.task import CallbackShape, Task, TaskStatus
from core.domain.wire import TaskView
from core.net import NetSettings, UrlRules
from core.settings import load_settings
from core.store.attempts import Finished
from tests.support.api import camera, submission
from tests.support.store import Store, recognised
from tests.support.tasks import MOMENT

BERLIN = ZoneInfo("Europe/Berlin")
LINKS = Links(public_url="https://muster.example", key=b"k" * 32, ttl_seconds=60)
REQUEST = submission(
    prompt="cow",
    callback_url="https://erp.example/muster",
    callback_events=["task.completed", "task.image"],
    priority=3,
    queue_ttl_seconds=3601,
    timeout_seconds=61,
    min_score=0.45,
    dedup={"key": "gate-3", "mode": "replace"},
    metadata={"shift": "früh", "nested": {"list": [1, 2.5, None, True]}},
    cameras=[
        camera(
            camera_size=[768, 1024],
            monitor_areas=[[[0, 0], [1024, 0.5], [1024, 768]], [[1, 1], [2, 2], [3, 1]]],
            capture_time="2026-11-22T07:30:00.25+01:00",
        ),
        camera(
            camera_id="gate-4",
            camera_size=[9, 9],
            monitor_areas="[[[0,0],[9,0],[9,9]]]",
            capture_time="2026-11-22 07:30:00",
        ),
    ],
)


@pytest.fixture(scope="module")
def meaning() -> Meaning:
    """Give what submissions are held against."""
    settings = load_settings()
    return Meaning(
        catalogue=load_catalogue(), shifts=settings.routing, zone=BERLIN, urls=UrlRules(NetSettings())
    )


def numbered(draft: Task, first_id: int = 7391224518873088) -> Task:
    """Give a draft its ids, as they are taken before the commit."""
    pictures = enumerate(draft.recognitions, first_id + 1)
    return replace(
        draft,
        id=first_id,
        created_at=MOMENT,
        recognitions=tuple(replace(picture, id=i, task_id=first_id) for i, picture in pictures),
    )


def asked_of(task: Task) -> tuple[Any, ...]:
    """Give what an execution and its callbacks need of a task."""
    pictures = tuple(seen(picture) for picture in task.recognitions)
    return (
        task.id, task.system_code, task.business_id, task.prompt, task.priority, task.timeout_seconds,
        task.queue_ttl_seconds, task.model, task.min_score, task.callback_url, task.callback_events,
        task.callback_shape, task.metadata, task.traceparent, task.cost, task.status, pictures,
    )  # fmt: skip


def seen(picture: Recognition) -> tuple[Any, ...]:
    """Give what is asked of one picture."""
    return (
        picture.id, picture.task_id, picture.position, picture.camera_id, picture.image_url, picture.model,
        picture.capture_time, picture.camera_size, picture.monitor_areas, picture.status,
    )  # fmt: skip


def test_a_request_becomes_a_schema_and_the_same_request_again() -> None:
    body = TaskIn.model_validate(REQUEST)

    again = TaskIn.model_validate(json.loads(body.model_dump_json()))

    assert again == body
    assert again.prompt == "COW"


def test_a_request_becomes_an_entity(meaning: Meaning) -> None:
    task = read_task(REQUEST, Asked(client_id="c-1"), ANYBODY, meaning)

    first, second = task.recognitions
    assert (task.prompt, task.cost, task.dedup_mode, task.client_id) == ("COW", 2, "replace", "c-1")
    assert first.camera_size == (768, 1024)
    assert first.monitor_areas[1] == ((1.0, 1.0), (2.0, 2.0), (3.0, 1.0))
    assert first.capture_time.isoformat() == "2026-11-22T06:30:00.250000+00:00"
    assert second.capture_time.isoformat() == "2026-11-22T06:30:00+00:00"
    assert [picture.model for picture in task.recognitions] == ["ssdlite", "ssdlite"]


async def test_a_request_survives_row_message_and_redis(meaning: Meaning, store: Store) -> None:
    draft = numbered(read_task(REQUEST, Asked(), ANYBODY, meaning))

    stored = (await store.submit(draft))[0].task
    row = await store.reload(stored)
    text = TaskMessage.of(row).to_json()
    worked_on = TaskMessage.from_json(text).to_task()

    assert asked_of(draft) == asked_of(stored) == asked_of(row) == asked_of(worked_on)
    assert worked_on.created_at == row.created_at


async def test_many_requests_keep_their_order_and_their_pictures(meaning: Meaning, store: Store) -> None:
    bodies = [REQUEST | {"business_id": f"b-{number}", "dedup": None} for number in range(20)]
    items = read_batch(json.loads(json.dumps({"items": bodies})))
    drafts = [
        numbered(read_task(item, Asked(), ANYBODY, meaning), 1000 * number)
        for number, item in enumerate(items, 1)
    ]

    rows = [await store.reload(submitted.task) for submitted in await store.submit(*drafts)]
    messages = [TaskMessage.from_json(TaskMessage.of(row).to_json()).to_task() for row in rows]
    views = [json.loads(TaskView.of(message).to_bytes()) for message in messages]

    assert [asked_of(row) for row in rows] == [asked_of(draft) for draft in drafts]
    assert [asked_of(message) for message in messages] == [asked_of(row) for row in rows]
    assert [view["business_id"] for view in views] == [body["business_id"] for body in bodies]
    assert [[p["camera_id"] for p in view["recognitions"]] for view in views] == [["gate-3", "gate-4"]] * 20


@pytest.mark.parametrize("shape", list(CallbackShape))
async def test_what_was_found_is_answered_and_called_back_alike(
    meaning: Meaning, store: Store, shape: CallbackShape
) -> None:
    asked = Asked(callback_shape=shape)
    stored = (await store.submit(numbered(read_task(REQUEST, asked, ANYBODY, meaning))))[0].task
    started = (await store.start(stored)).tasks[0]
    done = [recognised(picture, media_key="annotated/00/1/2.jpg") for picture in started.recognitions]
    await store.record(started, *done, end=Finished(status=TaskStatus.COMPLETED))
    ended = await store.reload(stored)

    answer = json.loads(TaskView.of(ended).to_bytes())
    promised = Promises(links=LINKS, zone=BERLIN).of(ended, EventType.COMPLETED, 1, MOMENT)
    assert promised is not None
    told = json.loads(promised.body)["data"]

    assert answer["task_num"] == told["task_num"] == 2
    pictures = told["recognitions"] if shape is CallbackShape.EVENT else told["recognition_list"]
    for one, other in zip(answer["recognitions"], pictures, strict=True):
        found = other if shape is CallbackShape.EVENT else other["recognition_result"]
        assert one["id"] == other["id"]
        assert one["objects"] == found["objects"]
        assert (one["counts"], one["areas"]) == (found["counts"], found["areas"])


def test_two_requests_that_mean_the_same_have_the_same_hash(meaning: Meaning) -> None:
    def sha256(**changes: Any) -> str:
        return read_task(REQUEST | changes, Asked(), ANYBODY, meaning).request_sha256

    shuffled = dict(reversed(list(REQUEST.items())))

    assert sha256() == sha256(prompt=" COW ") == sha256(model=None) == sha256(**shuffled)
    assert sha256() != sha256(priority=4)
    assert sha256() != sha256(system_code="south-ranch")


def test_the_time_of_acceptance_is_no_part_of_the_hash(meaning: Meaning) -> None:
    first, second = (read_task(submission(), Asked(), ANYBODY, meaning) for _ in range(2))

    assert first.request_sha256 == second.request_sha256
