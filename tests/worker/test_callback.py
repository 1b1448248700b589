"""One signed POST to a real receiver."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import pytest

from core.domain.delivery import Delivery, DeliveryStatus
from core.domain.routing import flow_of_host
from core.net import GuardedClient, NetSettings
from core.webhooks import webhook_headers
from tests.support.behaviours import redirect, reply
from tests.support.http_servers import CallbackReceiver
from worker.callback import Caller

KEYS = (b"n" * 32, b"o" * 32)
SECRETS = [f"whsec_{base64.b64encode(key).decode()}" for key in KEYS]
BODY = '{"type":"task.completed","name":"Bäuerin"}'.encode()


@pytest.fixture
async def receiver() -> AsyncIterator[CallbackReceiver]:
    async with CallbackReceiver(SECRETS[0]) as server:
        yield server


@pytest.fixture
async def client() -> AsyncIterator[GuardedClient]:
    async with GuardedClient(NetSettings(allow_loopback=True, user_agent="Muster/test")) as opened:
        yield opened


def delivery(url: str, *, tries: int = 0) -> Delivery:
    return Delivery(
        id=7391224518873099,
        task_id=7391224518873088,
        system_code="ranch",
        event="task.completed",
        url=url,
        host="127.0.0.1",
        flow=flow_of_host("127.0.0.1"),
        body=BODY,
        tries=tries,
    )


def caller(client: GuardedClient, clock: Callable[[], datetime] | None = None) -> Caller:
    return Caller(client, (5.0,), clock=clock or (lambda: datetime.now(UTC)))


async def test_a_callback_is_signed_and_says_who_sent_it(
    client: GuardedClient, receiver: CallbackReceiver
) -> None:
    made, outcome = await caller(client).call(delivery(receiver.url("/hook?key=1")), KEYS[:1])
    got = receiver.received[0]
    assert (outcome.status, made.status_code, made.error_code) == (DeliveryStatus.DELIVERED, 204, None)
    assert (got.is_verified, got.body, got.webhook_id) == (True, BODY, "7391224518873099")
    assert got.headers["content-type"] == "application/json"
    assert got.headers["user-agent"] == "Muster/test"
    assert receiver.requests[0].target == "/hook?key=1"


@pytest.mark.parametrize("secret", SECRETS)
async def test_while_a_secret_rotates_both_verify(client: GuardedClient, secret: str) -> None:
    async with CallbackReceiver(secret) as receiver:
        await caller(client).call(delivery(receiver.url("/")), KEYS)
        assert receiver.received[0].is_verified
        assert len(receiver.received[0].headers["webhook-signature"].split()) == 2


async def test_every_try_has_the_same_id_and_bytes_and_its_own_time(
    client: GuardedClient, receiver: CallbackReceiver
) -> None:
    clock = iter([datetime.now(UTC), datetime.now(UTC) - timedelta(seconds=60)])
    sender = caller(client, lambda: next(clock))
    for tries in (0, 1):
        await sender.call(delivery(receiver.url("/"), tries=tries), KEYS[:1])
    first, second = receiver.received
    assert first.is_verified
    assert second.is_verified
    assert (first.webhook_id, first.body) == (second.webhook_id, second.body)
    assert first.headers["webhook-timestamp"] != second.headers["webhook-timestamp"]


def test_the_signature_is_that_of_the_standard_in_any_time_zone() -> None:
    at = datetime(2026, 11, 22, 3, 30, tzinfo=timezone(timedelta(hours=-5)))
    headers = webhook_headers(delivery("https://receiver.example/"), KEYS[:1], at)
    seconds = str(int(at.timestamp()))
    signed = b".".join((b"7391224518873099", seconds.encode(), BODY))
    expected = base64.b64encode(hmac.digest(KEYS[0], signed, hashlib.sha256)).decode()
    assert (headers["webhook-timestamp"], headers["webhook-signature"]) == (seconds, f"v1,{expected}")


async def test_an_envelope_that_tells_of_failure_is_not_a_delivery(
    client: GuardedClient, receiver: CallbackReceiver
) -> None:
    receiver.replies.append(reply(200, b'{"code": 500, "message": "no", "success": false}'))
    made, outcome = await caller(client).call(delivery(receiver.url("/")), KEYS[:1])
    assert (outcome.status, outcome.error_code) == (DeliveryStatus.PENDING, "callback_not_accepted")
    assert (made.status_code, made.error_code) == (200, "callback_not_accepted")
    assert made.reply.startswith('{"code": 500')


async def test_a_redirect_is_a_failure_and_not_followed(
    client: GuardedClient, receiver: CallbackReceiver
) -> None:
    receiver.replies.append(redirect(receiver.url("/elsewhere"), 307))
    made, outcome = await caller(client).call(delivery(receiver.url("/")), KEYS[:1])
    assert (outcome.status, made.status_code) == (DeliveryStatus.PENDING, 307)
    assert [request.path for request in receiver.requests] == ["/"]


async def test_a_reply_is_kept_up_to_a_kibibyte(client: GuardedClient, receiver: CallbackReceiver) -> None:
    receiver.replies.append(reply(500, b"\0" + b"x" * 100_000))
    made, _ = await caller(client).call(delivery(receiver.url("/")), KEYS[:1])
    assert made.reply == "\ufffd" + "x" * 1023


async def test_a_receiver_that_is_not_there_is_tried_again(client: GuardedClient) -> None:
    async with CallbackReceiver() as gone:
        url = gone.url("/")
    made, outcome = await caller(client).call(delivery(url), KEYS[:1])
    assert (outcome.status, made.status_code) == (DeliveryStatus.PENDING, None)
    assert made.error_code == "callback_failed"


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1/", "http://10.1.2.3/", "http://[::1]/", "ftp://a.example/"]
)
async def test_an_address_that_may_not_be_called_is_dead_at_once(url: str) -> None:
    async with GuardedClient(NetSettings()) as strict:
        made, outcome = await caller(strict).call(delivery(url), KEYS[:1])
    assert (outcome.status, outcome.error_code) == (DeliveryStatus.DEAD, "callback_blocked_address")
    assert made.error_code == "callback_blocked_address"


async def test_a_mistake_of_ours_counts_as_a_failed_try(client: GuardedClient) -> None:
    made, outcome = caller(client).broken(delivery("https://receiver.example/"))
    assert (outcome.status, made.error_code) == (DeliveryStatus.PENDING, "internal_error")
    _, last = caller(client).broken(delivery("https://receiver.example/", tries=1))
    assert last.status is DeliveryStatus.DEAD


async def test_a_callback_carries_the_trace_of_its_submission(
    client: GuardedClient, receiver: CallbackReceiver
) -> None:
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    sent = replace(delivery(receiver.url("/hook")), traceparent=trace)
    await caller(client).call(sent, KEYS[:1])
    await caller(client).call(delivery(receiver.url("/hook")), KEYS[:1])
    assert [each.headers.get("traceparent") for each in receiver.received] == [trace, None]
