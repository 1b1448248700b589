from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from ipaddress import ip_address

import pytest
import pytest_asyncio

from core.errors import BlockedAddress, DeliveryBlocked, SettingsError
from core.net import GuardedClient, NetSettings, UrlRules
from core.net.addresses import AddressRules, is_own
from tests.support.dns_server import DnsServer
from tests.support.http_servers import LoopbackServer


def words(text: str) -> list[str]:
    return text.split()


HOSTILE = words("""
0.0.0.0 0.1.2.3 10.0.0.1 10.255.255.255 100.64.0.1 100.100.100.200 100.127.255.254 127.0.0.1 127.0.0.2
127.255.255.254 168.63.129.16 169.254.0.1 169.254.169.254 169.254.170.2 169.254.169.253 172.16.0.1
172.31.255.255 192.0.0.1 192.0.0.8 192.0.0.9 192.0.0.10 192.0.0.170 192.0.0.192 192.0.2.1 192.31.196.1
192.52.193.1 192.88.99.1 192.88.99.2 192.168.0.1 192.168.255.255 192.175.48.1 198.18.0.1 198.51.100.1
203.0.113.1 224.0.0.1 239.255.255.250 240.0.0.1 255.255.255.255
:: ::1 ::2 ::7f00:1 ::ffff:127.0.0.1 ::ffff:10.0.0.1 ::ffff:169.254.169.254 ::ffff:8.8.8.8
::ffff:0:127.0.0.1 64:ff9b::7f00:1 64:ff9b::a9fe:a9fe 64:ff9b::808:808 64:ff9b:1::7f00:1 100::1 100:0:0:1::1
2001::1 2001:0:7f00:1::1 2001:0:808:808::f7f7:f7f7 2001:2::1 2001:10::1 2001:20::1 2001:30::1 2001:db8::1
2002:7f00:1:: 2002:a9fe:a9fe:: 2002:808:808:: 2620:4f:8000::1 3fff::1 4000::1 5f00::1 8000::1 fc00::1
fd00:ec2::254 fd20:ce::254 fd12:3456::1 fe80::1 fe80::5efe:7f00:1 fec0::1 ff02::1 ff0e::1
""")
NEVER = words("""
169.254.169.254 169.254.170.2 100.100.100.200 168.63.129.16 192.0.0.192 fd00:ec2::254 fd20:ce::254 fe80::1
64:ff9b::a9fe:a9fe 2002:7f00:1:: ::ffff:127.0.0.1 0.0.0.0 224.0.0.1 255.255.255.255
""")
PUBLIC = ["8.8.8.8", "1.1.1.1", "100.63.255.255", "172.32.0.1", "2606:4700:4700::1111", "2600::1"]
RULES = AddressRules.of((), allow_loopback=False)


def in_url(address: str) -> str:
    return f"[{address}]" if ":" in address else address


def own_addresses() -> Iterator[str]:
    """Addresses of this host beyond loopback, without sending anything."""
    for family, far in ((socket.AF_INET, "192.0.2.77"), (socket.AF_INET6, "2001:db8::77")):
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            try:
                probe.connect((far, 9))
            except OSError:
                continue
            yield str(probe.getsockname()[0])


@pytest_asyncio.fixture
async def canaries() -> AsyncIterator[list[LoopbackServer]]:
    """Listeners that nobody may ever reach."""
    async with AsyncExitStack() as stack:
        first = await stack.enter_async_context(LoopbackServer("127.0.0.1"))
        others = [LoopbackServer(host, first.port) for host in ("127.0.0.2", "127.255.255.254", "::1")]
        yield [first, *[await stack.enter_async_context(each) for each in others]]


def test_the_table_of_hostile_addresses_is_long_enough() -> None:
    assert len(set(HOSTILE)) >= 60


@pytest.mark.parametrize("address", HOSTILE)
def test_a_hostile_address_is_refused_at_submission(address: str) -> None:
    with pytest.raises(BlockedAddress) as refused:
        UrlRules(NetSettings()).check_url(f"http://{in_url(address)}/a.jpg?key=secret")
    assert refused.value.code == "image_blocked_address"
    assert address not in refused.value.message
    assert "secret" not in refused.value.message


async def test_names_that_lead_to_hostile_addresses_are_never_connected_to(
    canaries: list[LoopbackServer],
) -> None:
    port = canaries[0].port
    settings = NetSettings(allowed_ports=frozenset({port}))
    async with DnsServer() as dns, GuardedClient(settings, resolver=dns.resolver()) as client:
        for place, address in enumerate(HOSTILE):
            dns.zone[f"n{place}.test"] = [address]
            with pytest.raises(BlockedAddress) as refused:
                await client.fetch_picture(f"http://n{place}.test:{port}/a.jpg")
            assert address not in refused.value.message
            with pytest.raises(DeliveryBlocked) as not_sent:
                await client.post(f"http://n{place}.test:{port}/", b"{}", {})
            assert not_sent.value.code == "callback_blocked_address"
    assert [canary.accepted for canary in canaries] == [0, 0, 0, 0]


async def test_the_canaries_would_notice(canaries: list[LoopbackServer]) -> None:
    settings = NetSettings(allow_loopback=True)
    async with GuardedClient(settings) as client:
        for canary in canaries:
            reply = await client.post(canary.url("/"), b"{}", {})
            assert reply.status == 404
    assert [canary.accepted for canary in canaries] == [1, 1, 1, 1]


@pytest.mark.parametrize("address", PUBLIC)
def test_a_public_address_is_not_refused(address: str) -> None:
    assert RULES.refusal(ip_address(address)) is None
    UrlRules(NetSettings()).check_url(f"https://{in_url(address)}/a.jpg")


@pytest.mark.parametrize("address", NEVER)
def test_metadata_and_link_local_stay_refused_whatever_is_allowed(address: str) -> None:
    rules = AddressRules.of(("0.0.0.0/0", "::/0"), allow_loopback=True)
    assert rules.refusal(ip_address(address)) is not None


@pytest.mark.parametrize("network", [*NEVER, "169.254.0.0/16", "fe80::/64", "10.0.0.1/8", "cameras", ""])
def test_a_network_that_cannot_be_allowed_is_said_at_start(network: str) -> None:
    with pytest.raises(SettingsError):
        UrlRules(NetSettings(allow_networks=(network,)))


def test_an_allowed_network_is_reached_and_its_neighbours_are_not() -> None:
    rules = AddressRules.of(("192.168.7.0/24", "fd12::/16"), allow_loopback=False)
    assert rules.refusal(ip_address("192.168.7.9")) is None
    assert rules.refusal(ip_address("fd12::9")) is None
    assert rules.refusal(ip_address("192.168.8.9")) is not None
    assert rules.refusal(ip_address("::ffff:192.168.7.9")) is not None


@pytest.mark.parametrize("address", ["10.1.2.3", "172.20.1.1", "192.168.1.1", "100.64.1.1", "fd12::1"])
def test_the_refusal_of_a_private_network_names_the_remedy(address: str) -> None:
    with pytest.raises(BlockedAddress, match="MUSTER_FETCH_ALLOW="):
        UrlRules(NetSettings()).check_url(f"http://{in_url(address)}/a.jpg")


def test_the_host_knows_its_own_addresses() -> None:
    assert is_own(ip_address("127.0.0.1"))
    assert not is_own(ip_address("203.0.113.77"))
    assert all(is_own(ip_address(address)) for address in own_addresses())


async def test_an_own_address_in_an_allowed_network_is_refused_unless_named_alone() -> None:
    for address in own_addresses():
        every = "0.0.0.0/0" if ":" not in address else "::/0"
        wide = AddressRules.of((every,), allow_loopback=False)
        assert wide.refuses_as_own(ip_address(address))
        assert not AddressRules.of((address,), allow_loopback=False).refuses_as_own(ip_address(address))
        assert not AddressRules.of((every,), allow_loopback=True).refuses_as_own(ip_address(address))
        async with GuardedClient(NetSettings(allow_networks=(every,))) as client:
            with pytest.raises(BlockedAddress):
                client.check_url(f"http://{in_url(address)}/a.jpg")
            with pytest.raises(BlockedAddress):
                await client.fetch_picture(f"http://{in_url(address)}/a.jpg")
