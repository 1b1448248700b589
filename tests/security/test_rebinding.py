from __future__ import annotations

import asyncio
import itertools
import threading

import pytest

from core.errors import BlockedAddress, FetchFailed, FetchTimeout
from core.net import GuardedClient, NetSettings
from tests.support.behaviours import jpeg, redirect
from tests.support.dns_server import DnsServer
from tests.support.http_servers import ImageServer, LoopbackServer

PUBLIC, VICTIM = "127.0.0.2", "127.0.0.1"


def settings(port: int) -> NetSettings:
    """Rules under which one loopback address plays the public internet."""
    return NetSettings(allow_networks=(f"{PUBLIC}/32",), allowed_ports=frozenset({port}))


async def test_a_name_whose_answer_changes_never_reaches_the_second_address() -> None:
    async with (
        ImageServer(PUBLIC) as public,
        LoopbackServer(VICTIM, public.port) as victim,
        DnsServer() as dns,
    ):
        public.add("/a.jpg", jpeg())
        turns = itertools.cycle([[PUBLIC], [PUBLIC], [VICTIM], [VICTIM]])  # A and AAAA ask once each
        dns.zone["rebind.test"] = lambda: next(turns)
        outcomes = []
        for _ in range(6):
            async with GuardedClient(settings(public.port), resolver=dns.resolver()) as client:
                try:
                    await client.fetch_picture(f"http://rebind.test:{public.port}/a.jpg")
                    outcomes.append("fetched")
                except BlockedAddress:
                    outcomes.append("blocked")
        assert outcomes == ["fetched", "blocked"] * 3
        assert victim.accepted == 0


async def test_a_connection_is_made_to_the_very_address_that_was_checked() -> None:
    async with (
        ImageServer(PUBLIC) as public,
        LoopbackServer(VICTIM, public.port) as victim,
        DnsServer() as dns,
    ):
        public.add("/a.jpg", jpeg())
        answers = itertools.chain([[PUBLIC], [PUBLIC]], itertools.repeat([VICTIM]))
        dns.zone["once.test"] = lambda: next(answers)
        async with GuardedClient(settings(public.port), resolver=dns.resolver()) as client:
            await client.fetch_picture(f"http://once.test:{public.port}/a.jpg")
        assert [kind for _, kind in dns.asked] == [1, 28]
        assert (public.accepted, victim.accepted) == (1, 0)


@pytest.mark.parametrize(
    "answers", [[PUBLIC, VICTIM], [VICTIM, PUBLIC], [PUBLIC, "::1"], [PUBLIC, "10.0.0.1"]]
)
async def test_a_mixed_answer_is_refused_whole(answers: list[str]) -> None:
    async with (
        ImageServer(PUBLIC) as public,
        LoopbackServer(VICTIM, public.port) as victim,
        DnsServer() as dns,
    ):
        public.add("/a.jpg", jpeg())
        dns.zone["mixed.test"] = answers
        async with GuardedClient(settings(public.port), resolver=dns.resolver()) as client:
            with pytest.raises(BlockedAddress):
                await client.fetch_picture(f"http://mixed.test:{public.port}/a.jpg")
        assert (public.accepted, victim.accepted) == (0, 0)


@pytest.mark.parametrize(
    "location",
    [
        "http://127.0.0.1:{port}/secret",
        "http://2130706433:{port}/secret",
        "http://[::ffff:127.0.0.1]:{port}/secret",
        "//127.0.0.1:{port}/secret",
        "http://inside.test:{port}/secret",
        "http://169.254.169.254/latest/meta-data/",
        "http://public.test:22/",
        "http://user:password@public.test:{port}/secret",
        "file:///etc/passwd",
        "gopher://127.0.0.1:{port}/_x",
        "http://[broken/",
    ],
)
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_checked_like_a_submission(location: str, status: int) -> None:
    async with (
        ImageServer(PUBLIC) as public,
        LoopbackServer(VICTIM, public.port) as victim,
        DnsServer() as dns,
    ):
        dns.zone |= {"public.test": [PUBLIC], "inside.test": [VICTIM]}
        public.serve("/a.jpg", redirect(location.replace("{port}", str(public.port)), status))
        async with GuardedClient(settings(public.port), resolver=dns.resolver()) as client:
            with pytest.raises(BlockedAddress) as refused:
                await client.fetch_picture(f"http://public.test:{public.port}/a.jpg")
        assert refused.value.code == "image_blocked_address"
        assert victim.accepted == 0
        assert len(public.requests) == 1


async def test_a_name_server_that_stays_silent_costs_no_more_than_its_time() -> None:
    async with DnsServer() as dns:
        dns.zone["silent.test"] = None
        rules = NetSettings(fetch_timeout_seconds=5)
        async with GuardedClient(rules, resolver=dns.resolver(timeout_seconds=0.2)) as client:
            before = threading.active_count()
            started = asyncio.get_running_loop().time()
            outcomes = await asyncio.gather(
                *(client.fetch_picture(f"http://silent.test/{n}.jpg") for n in range(40)),
                return_exceptions=True,
            )
            took_seconds = asyncio.get_running_loop().time() - started
        assert {type(outcome) for outcome in outcomes} == {FetchTimeout}
        assert threading.active_count() - before <= rules.clients * rules.in_flight_per_client
        assert took_seconds < 4


async def test_an_unknown_name_is_a_failed_fetch() -> None:
    async with DnsServer() as dns, GuardedClient(NetSettings(), resolver=dns.resolver()) as client:
        with pytest.raises(FetchFailed) as failed:
            await client.fetch_picture("http://nowhere.test/a.jpg")
        assert failed.value.code == "image_fetch_failed"
        assert "nowhere" not in failed.value.message


async def test_a_name_server_that_answers_another_question_is_a_failed_fetch() -> None:
    async with DnsServer() as dns, GuardedClient(NetSettings(), resolver=dns.resolver()) as client:
        dns.zone["cut.test"] = ["8.8.8.8"]
        dns.truncated.add("cut.test")
        with pytest.raises(FetchFailed):
            await client.fetch_picture("http://cut.test/a.jpg")


async def test_waiting_lookups_leave_no_thread_behind() -> None:
    async with DnsServer() as dns:
        dns.zone["silent.test"] = None
        async with GuardedClient(NetSettings(), resolver=dns.resolver(timeout_seconds=0.5)) as client:
            started = asyncio.get_running_loop().time()
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.05):
                    await client.fetch_picture("http://silent.test/a.jpg")
            assert asyncio.get_running_loop().time() - started < 1.5
