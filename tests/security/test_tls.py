from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from core.errors import BlockedAddress, DeliveryFailed, FetchFailed
from core.net import GuardedClient, NetSettings
from tests.support.behaviours import jpeg, redirect
from tests.support.certificates import identity
from tests.support.dns_server import DnsServer
from tests.support.http_servers import ImageServer


@pytest_asyncio.fixture
async def shop(tmp_path: Path) -> AsyncIterator[tuple[ImageServer, GuardedClient]]:
    """A server that proves to be good.test, under that name and another."""
    proof = identity(tmp_path, "good.test")
    async with ImageServer("127.0.0.2", tls=proof.server) as server, DnsServer() as dns:
        dns.zone |= {"good.test": ["127.0.0.2"], "other.test": ["127.0.0.2"]}
        server.add("/a.jpg", jpeg())
        settings = NetSettings(allow_networks=("127.0.0.2/32",), allowed_ports=frozenset({server.port, 80}))
        async with GuardedClient(settings, resolver=dns.resolver(), tls=proof.client) as client:
            yield server, client


async def test_the_certificate_is_checked_against_the_name_not_the_address(
    shop: tuple[ImageServer, GuardedClient],
) -> None:
    server, client = shop
    picture = await client.fetch_picture(server.url("/a.jpg", "good.test"))
    assert picture.content == server.contents["/a.jpg"]
    for host in ("other.test", "127.0.0.2"):
        with pytest.raises(FetchFailed, match="identity") as failed:
            await client.fetch_picture(server.url("/a.jpg", host))
        assert failed.value.code == "image_fetch_failed"
        with pytest.raises(DeliveryFailed, match="identity"):
            await client.post(server.url("/", host), b"{}", {})
    assert len(server.requests) == 1


async def test_an_unknown_authority_is_not_trusted(tmp_path: Path) -> None:
    proof = identity(tmp_path, "localhost")
    async with (
        ImageServer(tls=proof.server) as server,
        GuardedClient(NetSettings(allow_loopback=True)) as client,
    ):
        server.add("/a.jpg", jpeg())
        with pytest.raises(FetchFailed, match="identity"):
            await client.fetch_picture(server.url("/a.jpg", "localhost"))
        assert server.requests == []


async def test_a_redirect_from_https_to_http_is_refused(shop: tuple[ImageServer, GuardedClient]) -> None:
    server, client = shop
    server.serve("/down", redirect(f"http://good.test:{server.port}/a.jpg"))
    with pytest.raises(BlockedAddress, match="https to http"):
        await client.fetch_picture(server.url("/down", "good.test"))
    assert [request.path for request in server.requests] == ["/down"]


async def test_a_relative_redirect_stays_on_https(shop: tuple[ImageServer, GuardedClient]) -> None:
    server, client = shop
    server.serve("/sub/here", redirect("../a.jpg"))
    picture = await client.fetch_picture(server.url("/sub/here", "good.test"))
    assert picture.redirects == 1
    assert [request.path for request in server.requests] == ["/sub/here", "/a.jpg"]
