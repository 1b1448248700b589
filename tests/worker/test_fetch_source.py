from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from core.errors import BlockedAddress, FetchFailed, FetchTimeout, NotFound
from core.net import GuardedClient, NetSettings
from tests.support.behaviours import jpeg
from tests.support.http_servers import ImageServer
from worker.fetch import PictureSource


class Shelf:
    """A media store with one upload."""

    async def read_upload(self, token: str) -> bytes:
        match token:
            case "slow":
                await asyncio.sleep(5)
            case "gone":
                raise NotFound
            case "tok-1":
                return b"uploaded"
        raise FileNotFoundError(token)


@pytest_asyncio.fixture
async def client() -> AsyncIterator[GuardedClient]:
    async with GuardedClient(NetSettings(allow_loopback=True)) as each:
        yield each


async def test_http_urls_are_fetched_through_the_guard(client: GuardedClient) -> None:
    source = PictureSource(client, Shelf())
    async with ImageServer() as server:
        photo = jpeg()
        assert await source.read(server.add("/a.jpg", photo), traceparent="00-1-1-01") == photo
        assert server.requests[0].headers["traceparent"] == "00-1-1-01"
    with pytest.raises(BlockedAddress):
        await source.read("http://169.254.169.254/")


async def test_uploads_are_read_from_the_store(client: GuardedClient) -> None:
    assert await PictureSource(client, Shelf()).read("upload:tok-1") == b"uploaded"


@pytest.mark.parametrize("token", ["gone", "missing", ""])
async def test_an_upload_that_is_gone_is_a_failed_fetch(client: GuardedClient, token: str) -> None:
    with pytest.raises(FetchFailed, match="not there any more"):
        await PictureSource(client, Shelf()).read(f"upload:{token}")


async def test_a_store_that_does_not_answer_is_a_time_out(client: GuardedClient) -> None:
    with pytest.raises(FetchTimeout):
        await PictureSource(client, Shelf(), upload_timeout_seconds=0.05).read("upload:slow")


async def test_without_a_store_uploads_fail(client: GuardedClient) -> None:
    with pytest.raises(FetchFailed):
        await PictureSource(client).read("upload:tok-1")
