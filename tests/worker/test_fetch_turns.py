from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
import pytest_asyncio

from core.errors import (
    FetchFailed,
    FetchTimeout,
)
from core.net import GuardedClient, NetSettings
from tests.support.behaviours import (
    JPEG_HEAD,
    SeenRequest,
    Wire,
    drip,
    hang,
    head,
    jpeg,
    redirect,
    reply,
)
from tests.support.http_servers import ImageServer

SETTINGS = NetSettings(
    allow_loopback=True,
    fetch_timeout_seconds=1.0,
    connect_timeout_seconds=0.3,
)
PHOTO = jpeg()


@pytest_asyncio.fixture
async def client() -> AsyncIterator[GuardedClient]:
    async with GuardedClient(SETTINGS) as each:
        yield each


@pytest_asyncio.fixture
async def server() -> AsyncIterator[ImageServer]:
    async with ImageServer() as each:
        yield each


def long_answer(length: int) -> bytes:
    return head(200, [("Content-Length", str(length))]) + JPEG_HEAD


async def test_redirects_in_a_circle_end_after_three(client: GuardedClient, server: ImageServer) -> None:
    server.serve("/a", redirect("/b"))
    server.serve("/b", redirect("/a"))
    with pytest.raises(FetchFailed, match="too often") as failed:
        await client.fetch_picture(server.url("/a"))
    assert failed.value.code == "image_fetch_failed"
    assert [request.path for request in server.requests] == ["/a", "/b", "/a", "/b"]


@pytest.mark.parametrize(("hops", "is_fetched"), [(1, True), (3, True), (4, False)])
async def test_three_redirects_are_followed(
    client: GuardedClient, server: ImageServer, hops: int, is_fetched: bool
) -> None:
    for hop in range(hops):
        server.serve(f"/{hop}", redirect(f"{server.origin}/{hop + 1}"))
    server.add(f"/{hops}", PHOTO)
    if is_fetched:
        picture = await client.fetch_picture(server.url("/0"))
        assert (picture.redirects, picture.content) == (hops, PHOTO)
    else:
        with pytest.raises(FetchFailed):
            await client.fetch_picture(server.url("/0"))
        assert len(server.requests) == 4


async def test_a_redirect_starts_afresh_without_headers_and_cookies(
    client: GuardedClient, server: ImageServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    location = ("Location", "/b?token=s3cret")
    server.serve("/a", reply(302, b"", location, ("Set-Cookie", "session=1; Path=/")))
    server.add("/b", PHOTO)
    for _ in range(2):
        await client.fetch_picture(server.url("/a?token=s3cret"), traceparent="00-" + "1" * 32 + "-01")
    first, second = server.requests[:2]
    assert first.headers["traceparent"].startswith("00-")
    assert set(second.headers) == {"host", "user-agent", "accept", "accept-encoding"}
    assert all("cookie" not in request.headers for request in server.requests)
    assert "s3cret" not in caplog.text


async def test_the_time_limit_covers_all_redirects_together(
    client: GuardedClient, server: ImageServer
) -> None:
    async def slowly(request: SeenRequest, wire: Wire) -> None:
        await asyncio.sleep(0.4)
        await redirect("/a")(request, wire)

    server.serve("/a", slowly)
    started = asyncio.get_running_loop().time()
    with pytest.raises(FetchTimeout):
        await client.fetch_picture(server.url("/a"))
    assert asyncio.get_running_loop().time() - started < 1.3


async def test_at_most_so_many_fetches_are_at_one_host(server: ImageServer) -> None:
    settings = replace(SETTINGS, per_host_limit=3, fetch_timeout_seconds=5.0)
    free = asyncio.Event()

    async def when_free(request: SeenRequest, wire: Wire) -> None:
        await free.wait()
        await reply(200, PHOTO)(request, wire)

    url = server.serve("/a.jpg", when_free)
    async with (
        ImageServer("127.0.0.3") as other,
        GuardedClient(settings) as client,
        asyncio.TaskGroup() as group,
    ):
        fetches = [group.create_task(client.fetch_picture(url)) for _ in range(9)]
        await server.wait_for_requests(3)
        await client.fetch_picture(other.add("/b.jpg", PHOTO))  # another host does not wait
        free.set()
    assert all(fetch.result().content == PHOTO for fetch in fetches)
    assert server.most_at_once == 3


async def test_connections_are_kept_and_spread_over_the_pools(server: ImageServer) -> None:
    settings = replace(SETTINGS, clients=4, in_flight_per_client=2)
    url = server.add("/a.jpg", PHOTO)
    async with GuardedClient(settings) as client:
        for _ in range(20):
            await client.fetch_picture(url)
        assert server.accepted == 1
        await asyncio.gather(*(client.fetch_picture(url) for _ in range(40)))
    assert server.accepted <= 8


async def test_a_cancelled_fetch_gives_its_place_back(server: ImageServer) -> None:
    settings = replace(SETTINGS, per_host_limit=1, clients=1, in_flight_per_client=1)
    slow, good = server.serve("/slow", hang(long_answer(99))), server.add("/a.jpg", PHOTO)
    async with GuardedClient(settings) as client:
        for count in (1, 2, 3):
            fetch = asyncio.ensure_future(client.fetch_picture(slow))
            await server.wait_for_requests(count)
            fetch.cancel()
            with pytest.raises(asyncio.CancelledError):
                await fetch
        assert (await client.fetch_picture(good)).content == PHOTO


@pytest.mark.parametrize("at_once", [0, 3000])
async def test_a_dripping_server_is_left_long_before_the_time_limit(
    server: ImageServer, at_once: int
) -> None:
    settings = replace(SETTINGS, fetch_timeout_seconds=60.0, min_rate_after_seconds=0.2)
    url = server.serve("/a.jpg", drip(JPEG_HEAD * 500, 0.01, at_once=at_once))
    started = asyncio.get_running_loop().time()
    async with GuardedClient(settings) as client:
        with pytest.raises(FetchTimeout):
            await client.fetch_picture(url)
    assert asyncio.get_running_loop().time() - started < 5


async def test_a_look_up_that_breaks_is_a_failed_fetch() -> None:
    def broken(*_asked: object) -> list[tuple[int, int, int, str, tuple[object, ...]]]:
        raise PermissionError("no sockets left")

    async with GuardedClient(SETTINGS, resolver=broken) as client:
        with pytest.raises(FetchFailed):
            await client.fetch_picture("http://cams.test/a.jpg")
