from __future__ import annotations

import tracemalloc
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
import pytest_asyncio

from core.domain.picture import PictureFormat
from core.errors import (
    FetchFailed,
    FetchStatus,
    FetchTimeout,
    MusterError,
    NotAnImage,
    PictureTooLarge,
)
from core.net import GuardedClient, NetSettings
from tests.support.behaviours import (
    JPEG_HEAD,
    Behaviour,
    claims,
    drip,
    drip_headers,
    endless,
    gzip_bomb,
    hang,
    head,
    jpeg,
    raw,
    reply,
    reset,
)
from tests.support.http_servers import ImageServer

SETTINGS = NetSettings(
    allow_loopback=True,
    fetch_timeout_seconds=1.0,
    connect_timeout_seconds=0.3,
    min_rate_after_seconds=0.3,
    max_bytes=300_000,
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


@pytest.mark.parametrize(
    ("behaviour", "kind", "code"),
    [
        (hang(), FetchTimeout, "image_fetch_timeout"),
        (hang(b"HTTP/1.1 200 OK\r\n"), FetchTimeout, "image_fetch_timeout"),
        (hang(long_answer(99)), FetchTimeout, "image_fetch_timeout"),
        (drip(JPEG_HEAD * 20, 0.02), FetchTimeout, "image_fetch_timeout"),
        (drip(JPEG_HEAD * 200, 0.01, at_once=3000), FetchTimeout, "image_fetch_timeout"),
        (drip_headers(0.02), FetchTimeout, "image_fetch_timeout"),
        (claims(10_000_000_000, JPEG_HEAD), PictureTooLarge, "image_too_large"),
        (claims(10**15, JPEG_HEAD), PictureTooLarge, "image_too_large"),
        (claims(10**40, JPEG_HEAD), FetchFailed, "image_fetch_failed"),
        (endless(JPEG_HEAD), PictureTooLarge, "image_too_large"),
        (endless(b"<!doctype html><html>"), NotAnImage, "image_not_an_image"),
        (
            reply(200, b"<!doctype html><html></html>", ("Content-Type", "image/jpeg")),
            NotAnImage,
            "image_not_an_image",
        ),
        (reply(200, b""), NotAnImage, "image_not_an_image"),
        (reply(204), NotAnImage, "image_not_an_image"),
        (reply(200, b"\xff\xd8\xff"), NotAnImage, "image_not_an_image"),
        (reply(200, b"BM are two letters of text too"), NotAnImage, "image_not_an_image"),
        (reply(200, gzip_bomb(2, 8), ("Content-Encoding", "gzip, gzip")), FetchFailed, "image_fetch_failed"),
        (endless(b"\x1f\x8b\x08\x00", ("Content-Encoding", "GZIP")), FetchFailed, "image_fetch_failed"),
        (reply(200, PHOTO, ("Content-Encoding", "br")), FetchFailed, "image_fetch_failed"),
        (
            reply(200, PHOTO, ("Content-Encoding", "identity"), ("Content-Encoding", "x")),
            FetchFailed,
            "image_fetch_failed",
        ),
        (claims(len(PHOTO) + 1, PHOTO), FetchFailed, "image_fetch_failed"),
        (claims(-1, PHOTO), FetchFailed, "image_fetch_failed"),
        (claims(9, PHOTO, ("Content-Length", "10")), FetchFailed, "image_fetch_failed"),
        (claims(9, PHOTO), NotAnImage, "image_not_an_image"),
        (raw(long_answer(500)), FetchFailed, "image_fetch_failed"),
        (raw(head(200, [("Transfer-Encoding", "chunked")]) + b"zz\r\n"), FetchFailed, "image_fetch_failed"),
        (raw(b""), FetchFailed, "image_fetch_failed"),
        (raw(b"220 ftp.example ready\r\n"), FetchFailed, "image_fetch_failed"),
        (raw(b"HTTP/1.1 200 OK\r\nX: " + b"x" * 900_000), FetchFailed, "image_fetch_failed"),
        (reset(), FetchFailed, "image_fetch_failed"),
        (reset(long_answer(500)), FetchFailed, "image_fetch_failed"),
    ],
)
async def test_a_hostile_server_gets_its_code(
    client: GuardedClient, server: ImageServer, behaviour: Behaviour, kind: type[MusterError], code: str
) -> None:
    url = server.serve("/a.jpg", behaviour)
    with pytest.raises(kind) as failed:
        await client.fetch_picture(url + "?token=s3cret")
    assert failed.value.code == code
    assert "s3cret" not in failed.value.message
    assert "127.0.0.1" not in failed.value.message
    assert len(server.requests) == 1


@pytest.mark.parametrize("status", [302, 304, 400, 403, 404, 408, 410, 425, 429, 500, 502, 503, 599])
async def test_an_error_status_is_told(client: GuardedClient, server: ImageServer, status: int) -> None:
    with pytest.raises(FetchStatus) as failed:
        await client.fetch_picture(server.serve("/a.jpg", reply(status)))
    assert failed.value.code == "image_http_status"
    assert failed.value.status == status
    assert failed.value.retry_after_seconds is None
    assert failed.value.is_transient is (status in (408, 425, 429) or status >= 500)


@pytest.mark.parametrize(
    ("said", "seconds"),
    [
        ("7", 7.0),
        ("120", 120.0),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 0.0),
        ("soon", None),
        ("-5", None),
        ("1e9", None),
        ("9" * 400, None),
        ("", None),
    ],
)
async def test_retry_after_is_read_as_seconds_or_date(
    client: GuardedClient, server: ImageServer, said: str, seconds: float | None
) -> None:
    with pytest.raises(FetchStatus) as failed:
        await client.fetch_picture(server.serve("/a.jpg", reply(503, b"", ("Retry-After", said))))
    assert failed.value.retry_after_seconds == seconds


async def test_a_refused_connection_is_a_failed_fetch(client: GuardedClient) -> None:
    async with ImageServer() as gone:
        url = gone.url("/a.jpg")
    with pytest.raises(FetchFailed, match="could not be reached"):
        await client.fetch_picture(url)


async def test_an_unpackable_bomb_costs_no_memory(client: GuardedClient, server: ImageServer) -> None:
    url = server.serve("/a.jpg", reply(200, gzip_bomb(1, 64), ("Content-Encoding", "gzip")))
    tracemalloc.start()
    try:
        with pytest.raises(FetchFailed, match="Content-Encoding"):
            await client.fetch_picture(url)
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak_bytes < 2_000_000


async def test_an_endless_picture_costs_no_more_memory_than_the_cap(server: ImageServer) -> None:
    url = server.serve("/a.jpg", endless(JPEG_HEAD))
    tracemalloc.start()
    try:
        async with GuardedClient(replace(SETTINGS, max_bytes=1_000_000)) as client:
            with pytest.raises(PictureTooLarge):
                await client.fetch_picture(url)
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak_bytes < 10_000_000


@pytest.mark.parametrize("size", [300_000, 300_001])
async def test_the_cap_is_exact_without_a_length_too(
    client: GuardedClient, server: ImageServer, size: int
) -> None:
    content = JPEG_HEAD + b"\x00" * (size - len(JPEG_HEAD))
    url = server.serve("/a.jpg", raw(head(200, [("Connection", "close")]) + content))
    if size > SETTINGS.max_bytes:
        with pytest.raises(PictureTooLarge):
            await client.fetch_picture(url)
    else:
        assert (await client.fetch_picture(url)).content == content


async def test_a_slow_but_fair_server_is_waited_for(server: ImageServer) -> None:
    settings = replace(SETTINGS, min_bytes_per_second=1000.0, fetch_timeout_seconds=10.0)
    url = server.serve("/a.jpg", drip(JPEG_HEAD * 60, 0.002, at_once=900))
    async with GuardedClient(settings) as client:
        picture = await client.fetch_picture(url)
    assert picture.format is PictureFormat.JPEG


async def test_the_content_decides_not_the_content_type(client: GuardedClient, server: ImageServer) -> None:
    url = server.add("/a.txt", PHOTO, "text/plain")
    picture = await client.fetch_picture(url)
    assert (picture.format, picture.content) == (PictureFormat.JPEG, PHOTO)
