"""Requests that come again, and tasks that take the place of others."""

from __future__ import annotations

import asyncio

import pytest

from tests.support.api import Api, submission
from tests.support.store import Store


async def test_the_same_key_and_body_answer_the_first_task_again(api: Api, store: Store) -> None:
    first = await api.accepted(submission(), Idempotency_Key="k-1")

    again = await api.post("/v1/tasks", submission(prompt="cow", priority=5), Idempotency_Key="k-1")

    assert (again.status, again.json["id"]) == (200, first["id"])
    assert again.headers["Idempotent-Replayed"] == "true"
    assert again.headers["Location"] == f"/v1/tasks/{first['id']}"
    assert await store.count("task") == 1


async def test_the_same_key_with_another_body_is_refused(api: Api) -> None:
    await api.accepted(submission(), Idempotency_Key="k-1")

    answer = await api.post("/v1/tasks", submission(priority=6), Idempotency_Key="k-1")

    assert (answer.status, answer.json["code"]) == (422, "idempotency_key_reused")
    assert answer.json["errors"]


async def test_two_requests_at_once_under_one_key_make_one_task(api: Api, store: Store) -> None:
    answers = await asyncio.gather(
        *(api.post("/v1/tasks", submission(), Idempotency_Key="k-1") for _ in range(5))
    )

    assert sorted(answer.status for answer in answers) == [200, 200, 200, 200, 202]
    assert len({answer.json["id"] for answer in answers}) == 1
    assert await store.count("task") == 1


async def test_keys_of_two_systems_do_not_meet(api: Api) -> None:
    first = await api.accepted(submission(), Idempotency_Key="k-1")
    second = await api.accepted(submission(system_code="south-ranch"), Idempotency_Key="k-1")

    assert first["id"] != second["id"]


async def test_a_refused_request_is_not_remembered_under_its_key(api: Api) -> None:
    await api.post("/v1/tasks", submission(priority=10), Idempotency_Key="k-1")

    await api.accepted(submission(), Idempotency_Key="k-1")


async def test_keep_first_answers_the_task_that_waits(api: Api) -> None:
    first = await api.accepted(submission(dedup={"key": "gate-3", "mode": "keep_first"}))

    second = await api.post("/v1/tasks", submission(dedup={"key": "gate-3", "mode": "keep_first"}))

    assert (second.status, second.json["id"]) == (200, first["id"])
    assert second.headers["Muster-Deduplicated"] == "true"


async def test_replace_cancels_the_task_that_waits(api: Api) -> None:
    first = await api.accepted(submission(dedup={"key": "gate-3", "mode": "replace"}))

    second = await api.accepted(submission(dedup={"key": "gate-3", "mode": "replace"}))

    old = (await api.get(f"/v1/tasks/{first['id']}")).json
    assert (old["status"], old["error"]["code"]) == ("cancelled", "superseded")
    assert second["queue"]["position"] == 1


async def test_a_task_under_an_id_of_ones_own_is_made_once(api: Api) -> None:
    first = await api.put("/v1/tasks/patrol.7_a", submission())
    again = await api.put("/v1/tasks/patrol.7_a", submission())
    other = await api.put("/v1/tasks/patrol.7_a", submission(priority=1))
    found = await api.get("/v1/tasks?client_id=patrol.7_a")

    assert (first.status, again.status, other.status) == (202, 200, 409)
    assert other.json["code"] == "client_id_reused"
    assert first.json["id"] == again.json["id"] == found.json["items"][0]["id"]


@pytest.mark.parametrize("client_id", ["7391224518873088", "a" * 65, "a%20b", "%C3%A4"])
async def test_an_id_of_ones_own_that_is_none_is_refused(api: Api, client_id: str) -> None:
    answer = await api.put(f"/v1/tasks/{client_id}", submission())

    assert (answer.status, answer.pointers) == (422, ["/client_id"])
