from __future__ import annotations

import asyncio
import socket
from dataclasses import replace
from pathlib import Path

import pytest

from core.net.resolver import NameServers, NameTimeout, SystemResolver, read_hosts, read_resolv_conf
from tests.support.dns_server import DnsServer


async def look_up(resolver: SystemResolver, name: str) -> list[str]:
    answers = await asyncio.to_thread(resolver, name, 80, 0, socket.SOCK_STREAM, 0, 0)
    return [str(target[0]) for _, _, _, _, target in answers]


async def test_ipv4_comes_before_ipv6() -> None:
    async with DnsServer() as dns:
        dns.zone["both.test"] = ["2600::1", "8.8.8.8"]
        assert await look_up(dns.resolver(), "both.test") == ["8.8.8.8", "2600::1"]


async def test_the_search_list_completes_short_names() -> None:
    async with DnsServer() as dns:
        dns.zone |= {"erp.farm.lan": ["10.0.0.1"], "cam.shed": ["10.0.0.2"], "abs.farm.lan": ["10.0.0.3"]}
        resolver = dns.resolver(search=("none.lan", "farm.lan"))
        assert await look_up(resolver, "erp") == ["10.0.0.1"]
        assert await look_up(resolver, "cam.shed") == ["10.0.0.2"]
        with pytest.raises(socket.gaierror):
            await look_up(resolver, "abs.")
        assert [name for name, _ in dns.asked][-1] == "abs"


async def test_ndots_puts_the_search_list_first() -> None:
    async with DnsServer() as dns:
        dns.zone |= {"erp.shop.cluster.local": ["10.0.0.1"], "erp.shop": ["8.8.8.8"]}
        resolver = dns.resolver(search=("cluster.local",))
        assert resolver.servers is not None
        resolver = replace(resolver, servers=replace(resolver.servers, ndots=5))
        assert await look_up(resolver, "erp.shop") == ["10.0.0.1"]


async def test_the_hosts_file_is_asked_first_and_read_again(tmp_path: Path) -> None:
    hosts = tmp_path / "hosts"
    hosts.write_text("# none\n::9 Cam\n10.0.0.9 cam cam.lan # the gate\nfe80::1%lo odd\nnonsense here\n")
    async with DnsServer() as dns:
        resolver = replace(dns.resolver(), hosts_path=hosts)
        assert await look_up(resolver, "CAM") == ["10.0.0.9", "::9"]
        assert await look_up(resolver, "cam.lan.") == ["10.0.0.9"]
        assert dns.asked == []
    assert set(read_hosts(hosts)) == {"cam", "cam.lan"}
    assert read_hosts(tmp_path / "none") == {}


async def test_localhost_is_loopback_without_asking(tmp_path: Path) -> None:
    async with DnsServer() as dns:
        resolver = replace(dns.resolver(), hosts_path=tmp_path / "none")
        for name in ("localhost", "LOCALHOST.", "cam.localhost"):
            assert await look_up(resolver, name) == ["127.0.0.1", "::1"]
        assert dns.asked == []


async def test_a_dead_first_server_is_passed_over() -> None:
    async with DnsServer() as dns:
        dns.zone["a.test"] = ["8.8.8.8"]
        servers = NameServers(addresses=("127.0.0.9", "127.0.0.1"), port=dns.port)
        assert await look_up(SystemResolver(timeout_seconds=2, servers=servers), "a.test") == ["8.8.8.8"]


async def test_silence_is_told_from_absence() -> None:
    async with DnsServer() as dns:
        dns.zone["silent.test"] = None
        with pytest.raises(NameTimeout):
            await look_up(dns.resolver(timeout_seconds=0.2), "silent.test")
        with pytest.raises(socket.gaierror) as missing:
            await look_up(dns.resolver(), "absent.test")
        assert not isinstance(missing.value, NameTimeout)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "nameserver 10.0.0.1\nnameserver fd00::1\nsearch a.lan b.lan.\noptions timeout:1 ndots:5\n",
            NameServers(addresses=("10.0.0.1", "fd00::1"), search=("a.lan", "b.lan"), ndots=5),
        ),
        ("domain a.lan\n# nameserver 1.1.1.1\n", NameServers(search=("a.lan",))),
        ("nameserver\nnameserver dns.lan\noptions ndots:x\nsearch .\n", NameServers()),
        ("options ndots:99\n", NameServers(ndots=15)),
        ("", NameServers()),
    ],
)
def test_resolv_conf_is_read_as_the_platform_reads_it(
    tmp_path: Path, text: str, expected: NameServers
) -> None:
    path = tmp_path / "resolv.conf"
    path.write_text(text)
    assert read_resolv_conf(path) == expected
    assert read_resolv_conf(tmp_path / "none") == NameServers()
