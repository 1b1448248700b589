"""A task's timeline: every change of its state, and what became of its callbacks."""

from __future__ import annotations

from core.domain.task import TaskStatus
from core.store.attempts import Finished, PutBack
from tests.support.api import Api, deliver, row_of, submission
from tests.support.keys import NORTH, OPERATOR, SOUTH
from tests.support.store import Store, recognised

HOOK = "https://erp.example/hook"


async def test_a_timeline_tells_every_change_and_the_tries_of_callbacks(api: Api, store: Store) -> None:
    task = await api.accepted(submission(callback_url=HOOK))
    first = (await store.start(await row_of(store, task))).tasks[0]
    await store.record(first, end=PutBack(why="drained"))
    second = (await store.start(await row_of(store, task))).tasks[0]
    written = await store.record(
        second, recognised(second.recognitions[0]), end=Finished(status=TaskStatus.COMPLETED)
    )
    await deliver(store, written.deliveries[0].id)

    answer = await api.get(f"/v1/tasks/{task['id']}/history")

    told = answer.json
    assert answer.status == 200
    assert [(line["from"], line["to"], line["attempt"], line["why"]) for line in told["items"]] == [
        (None, "pending", 0, "submitted"),
        ("pending", "in_progress", 1, "attempt started"),
        ("in_progress", "pending", 1, "drained"),
        ("pending", "in_progress", 2, "attempt started"),
        ("in_progress", "completed", 2, "attempt ended"),
    ]
    moments = [line["at"] for line in told["items"]]
    assert moments == sorted(moments)
    (sent,) = told["deliveries"]
    assert (sent["event"], sent["status"]) == ("task.completed", "delivered")
    assert [(one["status_code"], one["reply"]) for one in sent["attempts"]] == [(200, "thank you")]


async def test_replies_in_a_timeline_are_for_operators(closed: Api, store: Store) -> None:
    north = closed.with_key(NORTH)
    task = await north.accepted(submission(callback_url=HOOK))
    path = f"/v1/tasks/{task['id']}/history"
    await north.post(f"/v1/tasks/{task['id']}/cancel")
    (sent,) = (await north.get(path)).json["deliveries"]
    await deliver(store, int(sent["id"]))

    seen = {}
    for key in (NORTH, OPERATOR):
        (sent,) = (await closed.with_key(key).get(path)).json["deliveries"]
        seen[key] = sent["attempts"][0]["reply"]

    assert seen == {NORTH: None, OPERATOR: "thank you"}


async def test_a_timeline_of_another_system_or_of_no_task_is_not_found(closed: Api) -> None:
    task = await closed.with_key(NORTH).accepted(submission())

    answers = [
        await closed.with_key(SOUTH).get(f"/v1/tasks/{task['id']}/history"),
        await closed.with_key(NORTH).get("/v1/tasks/1/history"),
        await closed.with_key(NORTH).get("/v1/tasks/x/history"),
    ]

    assert [(answer.status, answer.json["code"]) for answer in answers] == [(404, "not_found")] * 3
