"""Reading tasks: one, many, and waiting for an end."""

from __future__ import annotations

import asyncio
from time import monotonic
from typing import Any

import pytest

from core.domain.task import TaskStatus
from core.queue.connections import RedisConnections, RedisSettings
from core.queue.events import Event, EventKind, Events
from core.queue.lease import FlowLimit
from core.queue.queue import TaskQueue
from core.store.attempts import Finished, PutBack
from tests.support.api import Api, camera, row_of, submission
from tests.support.store import Store, recognised
from tests.support.valkey import PrivateValkey


async def complete(store: Store, told: Any) -> None:
    """Run a task to its end as a worker would, without telling anybody."""
    started = (await store.start(await row_of(store, told))).tasks[0]
    done = [recognised(picture) for picture in started.recognitions]
    await store.record(started, *done, end=Finished(status=TaskStatus.COMPLETED))


async def tell(valkey: PrivateValkey, told: Any) -> None:
    """Publish the end of a task as a worker would."""
    connections = RedisConnections(RedisSettings(url=valkey.url))
    await Events(connections, "recognition").publish(Event(kind=EventKind.ENDED, id=int(told["id"])))
    await connections.close()


@pytest.mark.parametrize(
    "identity", ["x", "-1", "1.5", "9" * 30, "7391224518873088", "0x10", "%00", "%D9%A1"]
)
async def test_a_task_that_is_not_there_is_not_found(api: Api, identity: str) -> None:
    answer = await api.get(f"/v1/tasks/{identity}")

    assert (answer.status, answer.json["code"]) == (404, "not_found")


async def test_a_task_that_waits_says_when_to_ask_again(api: Api) -> None:
    task = await api.accepted()

    answer = await api.get(f"/v1/tasks/{task['id']}")

    assert int(answer.headers["Retry-After"]) >= 1


async def test_a_task_that_has_ended_is_told_with_what_was_found(api: Api, store: Store) -> None:
    task = await api.accepted()
    await complete(store, task)

    answer = await api.get(f"/v1/tasks/{task['id']}")

    told = answer.json
    assert (told["status"], told["attempt"], told["queue"]) == ("completed", 1, None)
    assert told["recognitions"][0]["counts"] == {"COW": 1}
    assert told["task_num"] == 1
    assert "Retry-After" not in answer.headers


async def test_an_unchanged_task_is_not_sent_again(api: Api, store: Store) -> None:
    task = await api.accepted()
    path = f"/v1/tasks/{task['id']}"
    etag = (await api.get(path)).headers["ETag"]

    same = [await api.get(path, If_None_Match=tag) for tag in (etag, f'"x", W/{etag}', "*")]
    await complete(store, task)
    after = await api.get(path, If_None_Match=etag)

    assert [(answer.status, answer.content) for answer in same] == [(304, b"")] * 3
    assert same[0].headers["ETag"] == etag
    assert (after.status, after.headers["ETag"] == etag) == (200, False)


async def test_a_running_task_has_no_place_in_the_queue(api: Api, store: Store) -> None:
    task = await api.accepted()
    await store.start(await row_of(store, task))

    told = (await api.get(f"/v1/tasks/{task['id']}")).json

    assert (told["status"], told["queue"], told["images"]["completed"]) == ("in_progress", None, 0)


async def test_a_task_between_two_attempts_is_pending_and_says_when(api: Api, store: Store) -> None:
    task = await api.accepted()
    started = (await store.start(await row_of(store, task))).tasks[0]
    await store.record(started, end=PutBack(delay_seconds=30, is_failure=True))

    told = (await api.get(f"/v1/tasks/{task['id']}")).json

    assert (told["status"], told["attempt"], told["next_attempt_at"] is None) == ("pending", 1, False)
    assert told["queue"]["position"] is None


async def test_waiting_ends_when_the_end_is_told(api: Api, store: Store, valkey: PrivateValkey) -> None:
    task = await api.accepted()
    async with asyncio.timeout(10), asyncio.TaskGroup() as group:
        waiting = group.create_task(api.get(f"/v1/tasks/{task['id']}?wait=20"))
        await complete(store, task)
        await tell(valkey, task)

    assert waiting.result().json["status"] == "completed"


async def test_waiting_ends_soon_when_nobody_tells(api: Api, store: Store) -> None:
    task = await api.accepted()
    began = monotonic()
    async with asyncio.timeout(10), asyncio.TaskGroup() as group:
        waiting = group.create_task(api.get(f"/v1/tasks/{task['id']}?wait=20"))
        await complete(store, task)

    assert waiting.result().json["status"] == "completed"
    assert monotonic() - began < 3


async def test_waiting_in_vain_answers_the_task_as_it_is(api: Api) -> None:
    task = await api.accepted()

    answer = await api.get(f"/v1/tasks/{task['id']}?wait=1")

    assert (answer.status, answer.json["status"]) == (200, "pending")


@pytest.mark.parametrize("wait", ["x", "-1", "1.5", "", "3601"])
async def test_a_wrong_wait_is_refused(api: Api, wait: str) -> None:
    answer = await api.get(f"/v1/tasks/1?wait={wait}")

    assert (answer.status, answer.pointers) == (422, ["/wait"])


async def test_a_submission_that_waited_in_vain_is_accepted(api: Api) -> None:
    answer = await api.post("/v1/tasks", submission(), Prefer="wait=1")

    assert (answer.status, answer.json["status"]) == (202, "pending")
    assert "Preference-Applied" not in answer.headers


async def test_pages_follow_each_other_newest_first(api: Api) -> None:
    made = [(await api.accepted())["id"] for _ in range(5)]

    ids, path = [], "/v1/tasks?page_size=2"
    sizes = []
    while path:
        page = (await api.get(path)).json
        ids += [task["id"] for task in page["items"]]
        sizes.append(len(page["items"]))
        token = page["next_page_token"]
        path = f"/v1/tasks?page_size=2&page_token={token}" if token else ""

    assert ids == list(reversed(made))
    assert sizes == [2, 2, 1]


async def test_a_full_last_page_has_no_next(api: Api) -> None:
    await api.accepted()
    await api.accepted()

    assert (await api.get("/v1/tasks?page_size=2")).json["next_page_token"] is None


async def test_a_list_can_be_narrowed(api: Api) -> None:
    cow = await api.accepted(submission(business_id="b-1"))
    sheep = await api.accepted(submission(prompt="SHEEP", cameras=[camera(), camera(camera_id="barn")]))
    await api.post(f"/v1/tasks/{cow['id']}/cancel")
    from_now = (await row_time(api, sheep)).replace("+00:00", "Z")

    async def found(query: str) -> list[str]:
        return [task["id"] for task in (await api.get(f"/v1/tasks?{query}")).json["items"]]

    assert await found("business_id=b-1") == [cow["id"]]
    assert await found("prompt=sheep") == [sheep["id"]]
    assert await found("camera_id=barn") == [sheep["id"]]
    assert await found("status=cancelled") == [cow["id"]]
    assert await found("status=cancelled&status=pending") == [sheep["id"], cow["id"]]
    assert await found("status=cancelled,pending") == [sheep["id"], cow["id"]]
    assert await found("status=failed") == []
    assert await found(f"created_after={from_now}") == [sheep["id"]]
    assert await found(f"created_before={from_now}") == [cow["id"]]


async def row_time(api: Api, told: Any) -> str:
    """Give the time of acceptance that two tasks lie on both sides of."""
    return str((await api.get(f"/v1/tasks/{told['id']}")).json["created_at"])


@pytest.mark.parametrize(
    ("query", "pointer"),
    [
        ("page_size=0", "/page_size"),
        ("page_size=501", "/page_size"),
        ("page_size=x", "/page_size"),
        ("page_token=x", "/page_token"),
        ("page_token=p_1", "/page_token"),
        ("page_token=pzzzzzzzzzzzzz", "/page_token"),
        ("status=done", "/status"),
        ("created_after=yesterday", "/created_after"),
        ("created_before=2026-02-30T00:00:00Z", "/created_before"),
        ("business_id=", "/business_id"),
        ("business_id=%00", "/business_id"),
        (f"camera_id={'c' * 65}", "/camera_id"),
        ("colour=red", "/colour"),
    ],
)
async def test_a_wrong_filter_is_refused(api: Api, query: str, pointer: str) -> None:
    answer = await api.get(f"/v1/tasks?{query}")

    assert (answer.status, answer.pointers) == (422, [pointer])


async def test_a_limited_system_is_told_what_holds_its_task_back(api: Api, valkey: PrivateValkey) -> None:
    connections = RedisConnections(RedisSettings(url=valkey.url))
    queue = TaskQueue(connections, "recognition")
    await queue.set_limits([FlowLimit(flow="north-ranch", max_running=1)])
    tasks = [await api.accepted() for _ in range(2)]
    await queue.claim("token", 60_000, 2)
    await connections.close()

    told = (await api.get(f"/v1/tasks/{tasks[1]['id']}")).json

    assert told["queue"] == {
        "position": None,
        "ahead": None,
        "eta_seconds": None,
        "limited_by": "max_running",
    }
