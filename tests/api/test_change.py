"""Changing tasks: cancel, retry, erase."""

from __future__ import annotations

from typing import Any

import pytest

from core.domain.recognition import ErrorNote
from core.domain.task import TaskStatus
from core.media import Media, MediaStoreSettings
from core.settings import Settings
from core.store.attempts import Finished
from tests.support.api import Api, camera, deliver, row_of, submission
from tests.support.store import Store, recognised
from tests.support.valkey import PrivateValkey

JPEG = b"\xff\xd8\xff\xe0" + b"j" * 100


async def end(store: Store, told: Any, status: TaskStatus, media_key: str | None = None) -> None:
    """Run a task to an end as a worker would."""
    started = (await store.start(await row_of(store, told))).tasks[0]
    error = ErrorNote(code="recogniser_timeout", message="Too slow.") if status is TaskStatus.FAILED else None
    done = [recognised(picture, media_key=media_key) for picture in started.recognitions[:1]]
    await store.record(started, *done, end=Finished(status=status, error=error))


async def test_a_waiting_task_is_cancelled_at_once(api: Api, valkey: PrivateValkey) -> None:
    task = await api.accepted()

    answer = await api.post(f"/v1/tasks/{task['id']}/cancel")

    told = answer.json
    assert (answer.status, told["status"]) == (200, "cancelled")
    assert told["error"]["code"] == "cancelled_by_caller"
    assert told["recognitions"][0]["error"]["code"] == "cancelled_by_caller"
    with valkey.client() as client:
        assert client.zcard("mst:{recognition}:ready") == 0


async def test_a_running_task_is_asked_to_stop(api: Api, store: Store) -> None:
    task = await api.accepted()
    await store.start(await row_of(store, task))

    answer = await api.post(f"/v1/tasks/{task['id']}/cancel")

    assert (answer.status, answer.json["status"]) == (202, "in_progress")
    assert (await row_of(store, task)).cancel_requested


async def test_a_cancelled_task_cannot_be_cancelled_again(api: Api) -> None:
    task = await api.accepted()
    await api.post(f"/v1/tasks/{task['id']}/cancel")

    answer = await api.post(f"/v1/tasks/{task['id']}/cancel")

    assert (answer.status, answer.json["code"]) == (409, "task_is_final")
    assert "cancelled" in answer.json["detail"]


async def test_a_failed_task_starts_anew_and_keeps_what_was_recognised(api: Api, store: Store) -> None:
    task = await api.accepted(submission(cameras=[camera(), camera()]))
    await end(store, task, TaskStatus.FAILED)

    answer = await api.post(f"/v1/tasks/{task['id']}/retry")

    told = answer.json
    assert (answer.status, told["id"], told["status"]) == (202, task["id"], "pending")
    assert (told["error"], told["attempt"]) == (None, 1)
    assert told["queue"]["position"] is not None
    assert [picture["status"] for picture in told["recognitions"]] == ["completed", "pending"]


async def test_a_task_that_waits_cannot_be_retried(api: Api) -> None:
    task = await api.accepted()

    answer = await api.post(f"/v1/tasks/{task['id']}/retry")

    assert (answer.status, answer.json["code"]) == (409, "task_not_final")


async def test_a_completed_task_cannot_be_retried(api: Api, store: Store) -> None:
    task = await api.accepted()
    await end(store, task, TaskStatus.COMPLETED)

    answer = await api.post(f"/v1/tasks/{task['id']}/retry")

    assert (answer.status, answer.json["code"]) == (409, "task_is_final")


async def test_an_erased_task_is_gone_with_its_pictures(api: Api, store: Store, settings: Settings) -> None:
    media = Media(MediaStoreSettings(folder=settings.media.dir))
    task = await api.accepted(submission(callback_url="https://erp.example/hook"))
    picture_id = task["recognitions"][0]["id"]
    key = await media.put_annotated(int(task["id"]), int(picture_id), JPEG)
    await end(store, task, TaskStatus.COMPLETED, media_key=key)
    (sent,) = (await api.get(f"/v1/deliveries?task_id={task['id']}")).json["items"]
    await deliver(store, int(sent["id"]))

    answer = await api.delete(f"/v1/tasks/{task['id']}")

    assert (answer.status, answer.content) == (204, b"")
    assert (await api.get(f"/v1/tasks/{task['id']}")).status == 404
    assert (await api.get(f"/v1/tasks/{task['id']}/recognitions/{picture_id}/image")).status == 404
    assert not list(settings.media.dir.rglob("*.jpg"))
    assert (await api.get(f"/v1/deliveries/{sent['id']}")).status == 404
    for table in ("task", "recognition", "task_event", "delivery", "delivery_attempt"):
        assert await store.count(table) == 0, table


async def test_a_task_that_has_not_ended_cannot_be_erased(api: Api) -> None:
    task = await api.accepted()

    answer = await api.delete(f"/v1/tasks/{task['id']}")

    assert (answer.status, answer.json["code"]) == (409, "task_not_final")


@pytest.mark.parametrize("identity", ["7391224518873088", "x"])
async def test_what_is_not_there_cannot_be_changed(api: Api, identity: str) -> None:
    answers = [
        await api.post(f"/v1/tasks/{identity}/cancel"),
        await api.post(f"/v1/tasks/{identity}/retry"),
        await api.delete(f"/v1/tasks/{identity}"),
    ]

    assert [answer.json["code"] for answer in answers] == ["not_found"] * 3
