from __future__ import annotations

import pytest

from core.errors import BlockedAddress, DeliveryBlocked, InvalidUrl
from core.net import GuardedClient, NetSettings, UrlRules
from tests.support.dns_server import DnsServer
from tests.support.http_servers import LoopbackServer

# {port} is that of a listener on 127.0.0.1 which nobody may reach.
BLOCKED = [
    "http://127.0.0.1:{port}/",
    "http://2130706433:{port}/",
    "http://017700000001:{port}/",
    "http://0x7f000001:{port}/",
    "http://0X7F.0.0.1:{port}/",
    "http://0177.0.0.1:{port}/",
    "http://127.1:{port}/",
    "http://127.0.1:{port}/",
    "http://0:{port}/",
    "http://127.0.0.1.:{port}/",
    "http://[::1]:{port}/",
    "http://[0:0:0:0:0:0:0:1]:{port}/",
    "http://[::ffff:127.0.0.1]:{port}/",
    "http://[::ffff:7f00:1]:{port}/",
    "http://[::127.0.0.1]:{port}/",
    "http://[64:ff9b::127.0.0.1]:{port}/",
    "http://[2002:7f00:1::]:{port}/",
    "http://[2001:0:7f00:1::]:{port}/",
    "http://[::1%25lo]:{port}/",
    "http://[fe80::1%25eth0]:{port}/",
    "http://\u2460\u2461\u2466.\u24ea.\u24ea.\u2460:{port}/",
    "http://\uff11\uff12\uff17.0.0.1:{port}/",
    "http://127\u30020\u30020\u30021:{port}/",
    "http://127\uff0e0\uff0e0\uff0e1:{port}/",
    "http://127\uff610\uff610\uff611:{port}/",
    "http://169.254.169.254/latest/meta-data/",
    "HTTP://127.0.0.1:{port}/",
]
INVALID = [
    "",
    "a.jpg",
    "//127.0.0.1:{port}/a.jpg",
    "http:127.0.0.1:{port}",
    "http:///127.0.0.1:{port}/",
    "http://",
    "http://:{port}/",
    "file:///etc/passwd",
    "ftp://127.0.0.1:{port}/a.jpg",
    "gopher://127.0.0.1:{port}/_",
    "unix:///var/run/docker.sock",
    "data:image/png;base64,AAAA",
    "javascript:alert(1)",
    "ws://127.0.0.1:{port}/",
    "http://user:password@cams.test:{port}/",
    "http://user@cams.test:{port}/",
    "http://cams.test:{port}@127.0.0.1:{port}/",
    "http://127.0.0.1:{port}#@cams.test/\\",
    "http://cams.test\\@127.0.0.1:{port}/",
    "http://cams.test:{port}\r\nX-Injected: 1/",
    "http://cams.test:{port}/a\tb",
    " http://cams.test:{port}/",
    "http://cams.test:{port}/a b",
    "http://cams.test:22/",
    "http://cams.test:0/",
    "http://cams.test:65536/",
    "http://cams.test:{port}:80/",
    "http://cams.test:http/",
    "http://%31%32%37.0.0.1:{port}/",
    "http://cams..test:{port}/",
    "http://-/",
    "http://[::1:{port}/",
    "http://[v1.abc]:{port}/",
    "http://4294967296:{port}/",
    "http://256.256.256.256:{port}/",
    "http://1.2.3.4.5:{port}/",
    "http://134744072:{port}/",
    "http://" + "a" * 64 + ".test:{port}/",
    "http://" + "a." * 130 + "test:{port}/",
    "http://cams.test:{port}/" + "a" * 2048,
    "http://\ufdfa.test:{port}/" + "\u00fc" * 1900,
]
UNUSUAL_BUT_GOOD = [
    "http://cams.test:{port}/gate%203.jpg?when=now#here",
    "HTTP://CAMS.TEST:{port}/",
    "http://cams.test.:{port}/",
    "http://stra\u00dfe.test:{port}/h\u00f6he.jpg",
    "http://xn--hhe-sna.test:{port}",
    "http://8.8.8.8:{port}/",
    "http://[2606:4700::1]:{port}/",
    "http://cams.test:{port}/" + "a" * 1900,
]


def test_the_tables_of_hostile_urls_are_long_enough() -> None:
    assert len(set(BLOCKED + INVALID)) >= 60


@pytest.mark.parametrize("pattern", BLOCKED)
def test_a_literal_address_is_refused_in_every_spelling(pattern: str) -> None:
    rules = UrlRules(NetSettings(allowed_ports=frozenset({4711})))
    with pytest.raises(BlockedAddress):
        rules.check_url(pattern.replace("{port}", "4711"))


@pytest.mark.parametrize("pattern", INVALID)
def test_an_odd_url_is_refused_with_a_reason_that_does_not_quote_it(pattern: str) -> None:
    rules = UrlRules(NetSettings(allowed_ports=frozenset({4711})))
    with pytest.raises(InvalidUrl) as refused:
        rules.check_url(pattern.replace("{port}", "4711"))
    assert refused.value.code == "validation_failed"
    assert len(refused.value.message) < 120
    assert "cams" not in refused.value.message


@pytest.mark.parametrize("pattern", UNUSUAL_BUT_GOOD)
def test_an_unusual_but_good_url_is_accepted(pattern: str) -> None:
    UrlRules(NetSettings(allowed_ports=frozenset({4711}))).check_url(pattern.replace("{port}", "4711"))


async def test_no_hostile_url_is_ever_connected_to() -> None:
    async with LoopbackServer("127.0.0.1") as canary, DnsServer() as dns:
        settings = NetSettings(allowed_ports=frozenset({canary.port}))
        async with GuardedClient(settings, resolver=dns.resolver()) as client:
            for pattern in BLOCKED + INVALID:
                url = pattern.replace("{port}", str(canary.port))
                with pytest.raises(BlockedAddress):
                    await client.fetch_picture(url)
                with pytest.raises(DeliveryBlocked):
                    await client.post(url, b"{}", {})
        assert canary.accepted == 0
        assert dns.asked == []


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "127.9.9.9", "[::1]", "localhost", "cam.localhost", "localhost."]
)
def test_embedded_mode_takes_loopback_on_every_port(host: str) -> None:
    rules = UrlRules(NetSettings(allow_loopback=True))
    for port in (1, 80, 8000, 65535):
        rules.check_url(f"http://{host}:{port}/a.jpg")


@pytest.mark.parametrize("host", ["8.8.8.8", "cams.test", "localhost.test", "notlocalhost", "[2606:4700::1]"])
def test_embedded_mode_takes_other_hosts_on_the_allowed_ports_alone(host: str) -> None:
    rules = UrlRules(NetSettings(allow_loopback=True))
    rules.check_url(f"http://{host}/a.jpg")
    with pytest.raises(InvalidUrl, match="80, 443"):
        rules.check_url(f"http://{host}:8000/a.jpg")


@pytest.mark.parametrize("pattern", BLOCKED[1:10])
def test_embedded_mode_takes_no_encoded_addresses_either(pattern: str) -> None:
    with pytest.raises((InvalidUrl, BlockedAddress)):
        UrlRules(NetSettings(allow_loopback=True)).check_url(pattern.replace("{port}", "8000"))


async def test_a_loopback_name_that_leads_elsewhere_is_not_followed_to_an_odd_port() -> None:
    async with DnsServer() as dns, LoopbackServer("127.0.0.1") as server:
        dns.zone["localhost.lan"] = ["127.0.0.1"]
        settings = NetSettings(allow_loopback=True, allowed_ports=frozenset({server.port}))
        resolver = dns.resolver()
        async with GuardedClient(settings, resolver=resolver) as client:
            reply = await client.post(f"http://localhost.lan:{server.port}/", b"", {})
            assert reply.status == 404
        settings = NetSettings(allow_loopback=True)
        async with GuardedClient(settings, resolver=lambda *_: [(2, 1, 6, "", ("8.8.8.8", 1))]) as client:
            with pytest.raises(DeliveryBlocked):
                await client.post("http://localhost:8000/", b"", {})
