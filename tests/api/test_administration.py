"""What operators change: paused queues, callback secrets; and the callback to try a receiver with."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import update

from core.settings import Settings
from core.store.tables import system
from core.store.types import server_now
from tests.support.api import Api, changed, open_api, submission
from tests.support.behaviours import reply
from tests.support.http_servers import CallbackReceiver
from tests.support.keys import NORTH, OPERATOR, SOUTH, add_keys
from tests.support.store import Store
from tests.support.valkey import PrivateValkey

TRIAL = "/v1/systems/north-ranch/test-callback"


@pytest.fixture
async def embedded(settings: Settings, store: Store) -> AsyncIterator[Api]:
    """Give a web process with keys that may call back to loopback."""
    async with open_api(changed(settings, auth="on", embedded=True)) as started:
        await add_keys(started, store)
        yield started


async def secret_of(api: Api) -> str:
    """Rotate the secret of `north-ranch`, and give the new one."""
    answer = await api.with_key(OPERATOR).post("/v1/systems/north-ranch/secret/rotate")
    assert answer.status == 200
    return str(answer.json["secret"])


async def test_a_paused_queue_is_told_by_the_stats_and_goes_on_when_resumed(api: Api) -> None:
    paused = await api.post("/v1/queues/recognition/pause")
    told = (await api.get("/v1/stats")).json["queues"]

    assert (paused.status, paused.json) == (200, {"queue": "recognition", "paused": True})
    assert {name: queue["paused"] for name, queue in told.items()} == {
        "recognition": True,
        "solo": False,
        "delivery": False,
    }
    assert (await api.accepted())["queue"]["position"] == 1

    resumed = await api.post("/v1/queues/recognition/resume")
    assert (resumed.status, resumed.json["paused"]) == (200, False)
    assert not (await api.get("/v1/stats")).json["queues"]["recognition"]["paused"]


async def test_a_pause_is_taken_while_redis_is_away(api: Api, valkey: PrivateValkey, store: Store) -> None:
    valkey.kill()
    try:
        answer = await api.post("/v1/queues/delivery/pause")
    finally:
        valkey.start()

    assert (answer.status, answer.json["paused"]) == (200, True)
    assert await store.count("queue_state") == 1


async def test_a_queue_that_is_not_there_is_not_found(api: Api) -> None:
    answer = await api.post("/v1/queues/breakfast/pause")

    assert (answer.status, answer.json["code"]) == (404, "not_found")


async def test_only_an_operator_pauses_and_rotates(closed: Api) -> None:
    paths = ("/v1/queues/solo/pause", "/v1/queues/solo/resume", "/v1/systems/north-ranch/secret/rotate")

    refused = [await closed.with_key(NORTH).post(path) for path in paths]
    done = [await closed.with_key(OPERATOR).post(path) for path in paths]

    assert [(answer.status, answer.json["code"]) for answer in refused] == [(403, "forbidden")] * 3
    assert [answer.status for answer in done] == [200] * 3


async def test_a_secret_of_no_system_is_not_rotated(api: Api) -> None:
    assert (await api.post("/v1/systems/nobody/secret/rotate")).status == 404


async def test_both_secrets_sign_for_a_day_then_the_new_one_alone(embedded: Api, store: Store) -> None:
    first = await secret_of(embedded)
    answer = await embedded.with_key(OPERATOR).post("/v1/systems/north-ranch/secret/rotate")
    second, until = answer.json["secret"], datetime.fromisoformat(answer.json["old_secret_until"])
    assert second.startswith("whsec_")
    assert 86_390 < (until - datetime.now(UTC)).total_seconds() < 86_410

    async def takes(secret: str) -> bool:
        async with CallbackReceiver(secret) as receiver:
            told = await embedded.with_key(NORTH).post(TRIAL, {"url": receiver.url("/hook")})
            return bool(told.json["received"]) and receiver.received[0].is_verified

    assert await takes(first)
    assert await takes(second)
    await store.run(update(system).values(old_secret_until=server_now(-0.1)))
    assert not await takes(first)
    assert await takes(second)


async def test_a_callback_to_try_is_signed_and_its_answer_shown(embedded: Api, store: Store) -> None:
    async with CallbackReceiver(await secret_of(embedded)) as receiver:
        receiver.replies.append(reply(200, b'{"code": 200}'))
        url = receiver.url("/hook?key=1")
        told = (await embedded.with_key(OPERATOR).post(TRIAL, {"url": url})).json
        (got,) = receiver.received

    assert (told["received"], told["status_code"], told["error"]) == (True, 200, None)
    assert (told["webhook_id"], told["reply"]) == (got.webhook_id, '{"code": 200}')
    assert (got.is_verified, got.type, got.payload["data"]) == (
        True,
        "muster.test",
        {"system_code": "north-ranch"},
    )
    assert await store.count("delivery") == 0


@pytest.mark.parametrize(
    ("status", "body", "error"),
    [
        (500, b"", "callback_http_status"),
        (302, b"", "callback_http_status"),
        (410, b"", "callback_gone"),
        (200, b'{"code": 500}', "callback_not_accepted"),
    ],
)
async def test_an_answer_that_does_not_count_is_told_and_not_tried_again(
    embedded: Api, status: int, body: bytes, error: str
) -> None:
    async with CallbackReceiver() as receiver:
        receiver.replies.append(reply(status, body))
        told = (await embedded.with_key(NORTH).post(TRIAL, {"url": receiver.url("/")})).json
        assert len(receiver.received) == 1

    assert (told["received"], told["status_code"], told["error"]) == (False, status, error)
    assert told["reply"] is None  # for operators alone


async def test_a_receiver_that_is_not_there_is_told(embedded: Api) -> None:
    async with CallbackReceiver() as gone:
        url = gone.url("/")

    told = (await embedded.with_key(NORTH).post(TRIAL, {"url": url})).json

    assert (told["received"], told["status_code"], told["error"]) == (False, None, "callback_failed")


async def test_a_callback_to_try_goes_nowhere_that_others_may_not(closed: Api) -> None:
    north = closed.with_key(NORTH)

    literal = await north.post(TRIAL, {"url": "http://127.0.0.1/hook"})
    named = await north.post(TRIAL, {"url": "http://localhost/hook"})

    assert (literal.status, literal.json["code"], literal.pointers) == (
        422,
        "callback_blocked_address",
        ["/url"],
    )
    assert (named.status, named.json["error"]) == (200, "callback_blocked_address")


@pytest.mark.parametrize(("body", "pointer"), [({}, "/url"), ({"url": "ftp://x/"}, "/url"), ([], "")])
async def test_a_wrong_request_for_a_try_is_refused(closed: Api, body: Any, pointer: str) -> None:
    answer = await closed.with_key(NORTH).post(TRIAL, body)

    assert (answer.status, answer.pointers) == (422, [pointer])


async def test_a_system_tries_no_other_systems_callbacks(closed: Api) -> None:
    body = {"url": "https://erp.example/hook"}

    theirs = await closed.with_key(SOUTH).post(TRIAL, body)
    nobody = await closed.with_key(OPERATOR).post("/v1/systems/nobody/test-callback", body)

    assert [(answer.status, answer.json["code"]) for answer in (theirs, nobody)] == [(404, "not_found")] * 2


async def test_submissions_go_on_while_a_queue_is_paused(closed: Api) -> None:
    await closed.with_key(OPERATOR).post("/v1/queues/recognition/pause")

    assert (await closed.with_key(NORTH).accepted(submission()))["status"] == "pending"
