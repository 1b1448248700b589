from __future__ import annotations

import logging
import tracemalloc
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from standardwebhooks import Webhook

from core.errors import DeliveryBlocked, DeliveryFailed, DeliveryTimeout
from core.net import GuardedClient, NetSettings
from tests.support.behaviours import drip, endless, gzip_bomb, hang, head, raw, redirect, reply, reset
from tests.support.http_servers import CallbackReceiver, LoopbackServer
from tests.support.signing import SECRET, signed_headers

SETTINGS = NetSettings(allow_loopback=True, post_timeout_seconds=0.4, connect_timeout_seconds=0.2)


@pytest_asyncio.fixture
async def client() -> AsyncIterator[GuardedClient]:
    async with GuardedClient(SETTINGS) as each:
        yield each


@pytest_asyncio.fixture
async def server() -> AsyncIterator[LoopbackServer]:
    async with LoopbackServer() as each:
        yield each


async def test_the_body_and_headers_arrive_unchanged(client: GuardedClient) -> None:
    body = b'{"type": "task.completed", "data": {"\xc3\xbc": 1}}'
    async with CallbackReceiver(SECRET) as receiver:
        answer = await client.post(receiver.url("/hook"), body, signed_headers(body))
        await receiver.wait_for(1, type_="task.completed")
    (callback,) = receiver.received
    assert answer.status == 204
    assert callback.body == body
    assert callback.is_verified
    assert callback.headers["accept-encoding"] == "identity"
    assert callback.headers["content-length"] == str(len(body))
    Webhook(SECRET).verify(body, callback.headers)


async def test_a_wrong_signature_is_noticed_by_the_receiver(client: GuardedClient) -> None:
    async with CallbackReceiver(SECRET) as receiver:
        answer = await client.post(receiver.url("/hook"), b"{ }", signed_headers(b"{}"))
    assert answer.status == 401
    assert not receiver.received[0].is_verified


async def test_replies_follow_the_programme(client: GuardedClient) -> None:
    async with CallbackReceiver(SECRET) as receiver:
        receiver.replies += [reply(503, b"later", ("Retry-After", "7")), reply(410)]
        statuses = []
        for _ in range(3):
            answer = await client.post(receiver.url("/"), b"{}", signed_headers(b"{}"))
            statuses.append((answer.status, answer.retry_after_seconds, answer.body))
    assert statuses == [(503, 7.0, "later"), (410, None, ""), (204, None, "")]
    assert receiver.duplicates() == {"msg_1": 3}


async def test_a_redirect_is_an_answer_and_not_followed(
    client: GuardedClient, server: LoopbackServer
) -> None:
    server.serve("/hook", redirect("/elsewhere", 307))
    answer = await client.post(server.url("/hook"), b"{}", {})
    assert answer.status == 307
    assert [request.path for request in server.requests] == ["/hook"]


async def test_an_endless_answer_is_cut(client: GuardedClient, server: LoopbackServer) -> None:
    server.serve("/hook", endless(b"\xff\xfea"))
    answer = await client.post(server.url("/hook"), b"{}", {})
    assert answer.status == 200
    assert len(answer.body) == SETTINGS.max_reply_bytes


async def test_a_gzip_bomb_as_an_answer_is_not_unpacked(
    client: GuardedClient, server: LoopbackServer
) -> None:
    bomb = gzip_bomb()
    server.serve("/hook", reply(200, bomb, ("Content-Encoding", "gzip, gzip")))
    tracemalloc.start()
    try:
        answer = await client.post(server.url("/hook"), b"{}", {})
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (answer.status, answer.body) == (200, "")
    assert peak_bytes < 2_000_000


@pytest.mark.parametrize(
    "behaviour",
    [hang(), hang(head(200, [("Content-Length", "9")]) + b"begin"), drip(b"x" * 100, 0.02)],
    ids=["before headers", "in the body", "byte by byte"],
)
async def test_a_slow_receiver_is_a_time_out(
    client: GuardedClient, server: LoopbackServer, behaviour: object
) -> None:
    assert callable(behaviour)
    server.serve("/hook", behaviour)
    with pytest.raises(DeliveryTimeout) as late:
        await client.post(server.url("/hook"), b"{}", {})
    assert late.value.code == "callback_timeout"


@pytest.mark.parametrize(
    "behaviour", [reset(), raw(b""), raw(b"SSH-2.0-OpenSSH_9\r\n"), raw(head(200, [("Content-Length", "x")]))]
)
async def test_a_broken_answer_is_a_failed_delivery(
    client: GuardedClient, server: LoopbackServer, behaviour: object
) -> None:
    assert callable(behaviour)
    server.serve("/hook", behaviour)
    with pytest.raises(DeliveryFailed) as failed:
        await client.post(server.url("/hook"), b"{}", {})
    assert failed.value.code == "callback_failed"
    assert "127" not in failed.value.message


async def test_loopback_is_not_called_outside_embedded_mode(server: LoopbackServer) -> None:
    settings = NetSettings(allowed_ports=frozenset({server.port}))
    async with GuardedClient(settings) as client:
        for host in ("127.0.0.1", "localhost"):
            with pytest.raises(DeliveryBlocked) as refused:
                await client.post(server.url("/hook", host), b"{}", {})
            assert refused.value.code == "callback_blocked_address"
    assert server.accepted == 0


async def test_no_query_and_no_cookie_stay_behind(
    client: GuardedClient, server: LoopbackServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    server.serve("/hook", reply(302, b"", ("Set-Cookie", "a=b"), ("Location", "/?token=s3cret")))
    for _ in range(2):
        await client.post(server.url("/hook?token=s3cret"), b"{}", {})
    assert all("cookie" not in request.headers for request in server.requests)
    assert [request.target for request in server.requests] == ["/hook?token=s3cret"] * 2
    assert "s3cret" not in caplog.text
