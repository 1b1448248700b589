"""Callbacks as their owner sees them: list, read, and send again, one or many."""

from __future__ import annotations

from typing import Any

import pytest

from core.domain.delivery import DeliveryStatus
from tests.support.api import Api, deliver, submission
from tests.support.keys import NORTH, SOUTH
from tests.support.store import Store
from tests.support.valkey import PrivateValkey

HOOK = "https://erp.example/hook?key=secret"


async def delivered(api: Api, url: str = HOOK) -> Any:
    """Give the delivery of a task that was cancelled."""
    task = await api.accepted(submission(callback_url=url))
    await api.post(f"/v1/tasks/{task['id']}/cancel")
    (delivery,) = (await api.get(f"/v1/deliveries?task_id={task['id']}")).json["items"]
    return delivery


async def test_a_delivery_is_told_without_its_url(api: Api) -> None:
    delivery = await delivered(api)

    answer = await api.get(f"/v1/deliveries/{delivery['id']}")

    told = answer.json
    assert (told["event"], told["status"], told["host"]) == ("task.cancelled", "pending", "erp.example")
    assert (told["tries"], told["attempts"]) == (0, [])
    assert b"secret" not in answer.content


async def test_tries_are_told_and_replies_shown_to_operators(api: Api, store: Store) -> None:
    delivery = await delivered(api)
    await deliver(store, int(delivery["id"]))

    told = (await api.get(f"/v1/deliveries/{delivery['id']}")).json

    (made,) = told["attempts"]
    assert (told["status"], told["tries"], told["delivered_at"] is None) == ("delivered", 1, False)
    assert (made["attempt"], made["status_code"], made["duration_ms"]) == (1, 200, 12.5)
    assert made["reply"] == "thank you"


async def test_an_ended_delivery_is_sent_again(api: Api, store: Store, valkey: PrivateValkey) -> None:
    delivery = await delivered(api)
    await deliver(store, int(delivery["id"]))

    answer = await api.post(f"/v1/deliveries/{delivery['id']}/replay")

    assert (answer.status, answer.json["status"], answer.json["tries"]) == (202, "pending", 0)
    with valkey.client() as client:
        assert client.zcard("mst:{delivery}:ready") >= 1


async def test_deliveries_can_be_narrowed(api: Api) -> None:
    delivery = await delivered(api)

    async def found(query: str) -> list[str]:
        return [one["id"] for one in (await api.get(f"/v1/deliveries?{query}")).json["items"]]

    assert await found("status=pending") == [delivery["id"]]
    assert await found("status=dead") == []
    assert await found("status=dead,pending") == [delivery["id"]]
    assert await found("host=ERP.example") == [delivery["id"]]
    assert await found("created_after=2020-01-01T00:00:00Z") == [delivery["id"]]
    assert await found("created_before=2020-01-01T00:00:00Z") == []
    assert await found("host=erp.example") == [delivery["id"]]
    assert await found("task_id=1") == []


@pytest.mark.parametrize(
    ("query", "pointer"),
    [("status=x", "/status"), ("task_id=x", "/task_id"), ("host=", "/host"), ("url=x", "/url")],
)
async def test_a_wrong_filter_of_deliveries_is_refused(api: Api, query: str, pointer: str) -> None:
    answer = await api.get(f"/v1/deliveries?{query}")

    assert (answer.status, answer.pointers) == (422, [pointer])


async def test_pages_of_deliveries_follow_each_other(api: Api) -> None:
    made = [(await delivered(api))["id"] for _ in range(3)]

    first = (await api.get("/v1/deliveries?page_size=2")).json
    second = (await api.get(f"/v1/deliveries?page_size=2&page_token={first['next_page_token']}")).json

    assert [one["id"] for one in (*first["items"], *second["items"])] == list(reversed(made))
    assert second["next_page_token"] is None


async def test_a_delivery_that_is_still_tried_cannot_be_replayed(api: Api) -> None:
    delivery = await delivered(api)

    answer = await api.post(f"/v1/deliveries/{delivery['id']}/replay")

    assert (answer.status, answer.json["code"]) == (409, "task_not_final")


@pytest.mark.parametrize("identity", ["1", "x", "9223372036854775807"])
async def test_a_delivery_that_is_not_there_is_not_found(api: Api, identity: str) -> None:
    answers = [
        await api.get(f"/v1/deliveries/{identity}"),
        await api.post(f"/v1/deliveries/{identity}/replay"),
    ]

    assert [answer.json["code"] for answer in answers] == ["not_found"] * 2


async def ended(store: Store, *deliveries: Any, as_: DeliveryStatus = DeliveryStatus.DEAD) -> None:
    for one in deliveries:
        await deliver(store, int(one["id"]), as_)


async def test_dead_and_refused_ones_are_sent_again_by_host(
    api: Api, store: Store, valkey: PrivateValkey
) -> None:
    dead, refused, received = [await delivered(api) for _ in range(3)]
    elsewhere = await delivered(api, "https://other.example/hook")
    await ended(store, dead, elsewhere)
    await ended(store, refused, as_=DeliveryStatus.REFUSED)
    await ended(store, received, as_=DeliveryStatus.DELIVERED)
    valkey.flush()

    looked = await api.post("/v1/deliveries/replay", {"host": "ERP.example", "dry_run": True})
    answer = await api.post("/v1/deliveries/replay", {"host": "ERP.example"})

    assert looked.json == {"dry_run": True, "matched": 2, "changed": 0, "has_more": False}
    assert answer.json == {"dry_run": False, "matched": 2, "changed": 2, "has_more": False}
    told = {one["id"]: one for one in (await api.get("/v1/deliveries")).json["items"]}
    assert {told[one["id"]]["status"] for one in (dead, refused)} == {"pending"}
    assert (told[received["id"]]["status"], told[elsewhere["id"]]["status"]) == ("delivered", "dead")
    assert told[dead["id"]]["tries"] == 0
    with valkey.client() as client:
        assert client.zcard("mst:{delivery}:ready") == 2


async def test_received_ones_are_sent_again_when_asked_for(api: Api, store: Store) -> None:
    first, second = await delivered(api), await delivered(api)
    await ended(store, first, second, as_=DeliveryStatus.DELIVERED)

    by_id = await api.post("/v1/deliveries/replay", {"ids": [first["id"]]})
    by_status = await api.post("/v1/deliveries/replay", {"status": ["delivered"]})

    assert (by_id.json["changed"], by_status.json["changed"]) == (1, 1)


@pytest.mark.parametrize(
    ("selection", "changed"),
    [
        ({"created_after": "2020-01-01T00:00:00Z"}, 1),
        ({"created_after": "2100-01-01T00:00:00Z"}, 0),
        ({"created_before": "2020-01-01T00:00:00Z"}, 0),
        ({"task_id": "1"}, 0),
        ({"host": "other.example"}, 0),
        ({"status": ["refused"]}, 0),
        ({"system_code": "north-ranch"}, 1),
        ({"system_code": "south-ranch"}, 0),
    ],
)
async def test_every_filter_of_a_replay_narrows(api: Api, store: Store, selection: Any, changed: int) -> None:
    await ended(store, await delivered(api))

    assert (await api.post("/v1/deliveries/replay", selection)).json["changed"] == changed


async def test_what_is_still_tried_is_not_sent_again(api: Api) -> None:
    waiting = await delivered(api)

    answer = await api.post("/v1/deliveries/replay", {"ids": [waiting["id"]]})

    assert answer.json == {"dry_run": False, "matched": 0, "changed": 0, "has_more": False}


async def test_a_system_sends_only_its_own_again(closed: Api, store: Store) -> None:
    north, south = closed.with_key(NORTH), closed.with_key(SOUTH)
    mine = await delivered(north)
    await ended(store, mine)

    assert (await south.post("/v1/deliveries/replay", {"ids": [mine["id"]]})).json["changed"] == 0
    assert (await north.post("/v1/deliveries/replay", {"ids": [mine["id"]]})).json["changed"] == 1


async def test_the_callback_of_a_cancelled_task_is_queued_at_once(api: Api, valkey: PrivateValkey) -> None:
    sent = await delivered(api)

    with valkey.client() as client:
        (member,) = client.zrange("mst:{delivery}:ready", 0, -1)
    assert str(member).startswith(f"{sent['id']}:1:")


async def test_the_callback_of_a_superseded_task_is_queued_at_once(api: Api, valkey: PrivateValkey) -> None:
    newest = submission(callback_url=HOOK, dedup={"key": "gate-3", "mode": "replace"})
    first = await api.accepted(newest)
    await api.accepted(newest)

    (sent,) = (await api.get(f"/v1/deliveries?task_id={first['id']}")).json["items"]
    with valkey.client() as client:
        (member,) = client.zrange("mst:{delivery}:ready", 0, -1)
    assert (sent["event"], str(member).split(":")[0]) == ("task.cancelled", sent["id"])
