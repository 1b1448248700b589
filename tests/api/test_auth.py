"""Who may ask what: keys, systems, the operator."""

from __future__ import annotations

import pytest

from tests.support.api import Answer, Api, row_of, submission
from tests.support.keys import NORTH, OPERATOR, REVOKED, SOUTH
from tests.support.store import Store


@pytest.mark.parametrize(
    "header", ["", "Bearer", "Bearer ", "Bearer mst_unknown", "Basic bXN0", NORTH, f"Bearer {REVOKED}"]
)
async def test_without_a_valid_key_nothing_is_answered(closed: Api, header: str) -> None:
    headers = {"Authorization": header} if header else {}

    answers = [
        await closed.ask("GET", path, headers=headers)
        for path in ("/v1/tasks", "/v1/tasks/1", "/v1/models", "/v1/stats", "/v1/workers", "/v1/deliveries")
    ]

    assert [(answer.status, answer.json["code"]) for answer in answers] == [(401, "unauthenticated")] * 6
    assert answers[0].headers["WWW-Authenticate"] == "Bearer"
    assert "mst_" in answers[0].json["detail"] or "not valid" in answers[0].json["detail"]


async def test_without_a_key_nothing_is_accepted(closed: Api, store: Store) -> None:
    answers = [
        await closed.post("/v1/tasks", submission()),
        await closed.post("/v1/tasks/batch", {"items": [submission()]}),
        await closed.put("/v1/tasks/a", submission()),
        await closed.ask("POST", "/v1/uploads", content=b"\xff\xd8\xff"),
    ]
    envelope = await closed.post("/recognition", submission())

    assert [answer.status for answer in answers] == [401] * 4
    assert (envelope.status, envelope.json["code"]) == (200, 401)
    assert await store.count("task") == 0


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/metrics", "/openapi.json", "/docs"])
async def test_health_and_documentation_need_no_key(closed: Api, path: str) -> None:
    assert (await closed.get(path)).status == 200


async def test_the_key_names_the_system(closed: Api, store: Store) -> None:
    task = await closed.with_key(NORTH).accepted(submission(system_code=...))

    assert task["system_code"] == "north-ranch"
    assert (await row_of(store, task)).system_code == "north-ranch"


async def test_a_body_that_names_another_system_is_refused(closed: Api) -> None:
    answer = await closed.with_key(NORTH).post("/v1/tasks", submission(system_code="south-ranch"))

    assert (answer.status, answer.pointers) == (422, ["/system_code"])
    assert "north-ranch" in answer.json["errors"][0]["detail"]


async def test_the_operator_names_the_system_in_the_body(closed: Api) -> None:
    operator = closed.with_key(OPERATOR)

    assert (await operator.accepted(submission()))["system_code"] == "north-ranch"
    assert (await operator.post("/v1/tasks", submission(system_code=...))).pointers == ["/system_code"]


async def test_what_belongs_to_another_system_is_not_found(closed: Api) -> None:
    north, south = closed.with_key(NORTH), closed.with_key(SOUTH)
    task = await north.accepted(submission(callback_url="https://erp.example/hook"))
    picture_id = task["recognitions"][0]["id"]

    answers: list[Answer] = [
        await south.get(f"/v1/tasks/{task['id']}"),
        await south.post(f"/v1/tasks/{task['id']}/cancel"),
        await south.post(f"/v1/tasks/{task['id']}/retry"),
        await south.delete(f"/v1/tasks/{task['id']}"),
        await south.get(f"/v1/tasks/{task['id']}/recognitions/{picture_id}/image"),
    ]
    envelope = (await south.get(f"/recognition/{task['id']}")).json

    assert [answer.status for answer in answers] == [404] * 5
    assert envelope["code"] == 404
    assert (await south.get("/v1/tasks")).json["items"] == []
    assert len((await north.get("/v1/tasks")).json["items"]) == 1


async def test_deliveries_of_another_system_are_not_found(closed: Api) -> None:
    north, south = closed.with_key(NORTH), closed.with_key(SOUTH)
    task = await north.accepted(submission(callback_url="https://erp.example/hook"))
    await north.post(f"/v1/tasks/{task['id']}/cancel")

    (delivery,) = (await north.get("/v1/deliveries")).json["items"]

    assert (await south.get("/v1/deliveries")).json["items"] == []
    assert (await south.get(f"/v1/deliveries/{delivery['id']}")).status == 404
    assert (await south.post(f"/v1/deliveries/{delivery['id']}/replay")).status == 404
    assert (await north.get(f"/v1/deliveries/{delivery['id']}")).status == 200


async def test_the_operator_sees_every_system(closed: Api) -> None:
    await closed.with_key(NORTH).accepted(submission(system_code=...))
    await closed.with_key(SOUTH).accepted(submission(system_code=...))

    assert len((await closed.with_key(OPERATOR).get("/v1/tasks")).json["items"]) == 2


async def test_a_system_sees_its_own_share_of_the_queue_only(closed: Api) -> None:
    await closed.with_key(NORTH).accepted(submission(system_code=...))
    await closed.with_key(SOUTH).accepted(submission(system_code=...))

    seen = (await closed.with_key(NORTH).get("/v1/stats")).json["queues"]["recognition"]

    assert list(seen["systems"]) == ["north-ranch"]


async def test_one_idempotency_key_is_good_for_each_system(closed: Api) -> None:
    north = await closed.with_key(NORTH).accepted(submission(system_code=...), Idempotency_Key="k")
    south = await closed.with_key(SOUTH).accepted(submission(system_code=...), Idempotency_Key="k")

    assert north["id"] != south["id"]


async def test_naming_the_own_system_is_the_same_request(closed: Api) -> None:
    north = closed.with_key(NORTH)
    first = await north.accepted(submission(system_code=...), Idempotency_Key="k")

    again = await north.post("/v1/tasks", submission(), Idempotency_Key="k")

    assert (again.status, again.json["id"]) == (200, first["id"])
