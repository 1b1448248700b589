"""A web process that is told to end: what was sent is answered, who waits is sent away, nobody is cut off."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterator
from pathlib import Path
from time import monotonic

import httpx
import pytest

from core.settings import Settings
from tests.support.valkey import PrivateValkey
from tests.support.web_process import body, caller, web_and_worker_settings, web_process
from tests.support.worker_bench import until
from tests.support.worker_process import WorkerProcess

URL = "http://127.0.0.1:9/nobody-fetches-it.jpg"


@pytest.fixture(scope="module")
def valkey() -> Iterator[PrivateValkey]:
    with PrivateValkey() as server:
        yield server


@pytest.fixture
async def settings(sqlite_url: str, valkey: PrivateValkey, tmp_path: Path) -> Settings:
    return await web_and_worker_settings(sqlite_url, valkey, tmp_path)


async def test_a_draining_web_process_sends_those_who_wait_away_with_what_there_is(
    settings: Settings,
) -> None:
    async with web_process(settings) as (web, url), caller(url) as client:
        accepted = (await client.post("/v1/tasks", json=body(URL))).json()
        held = asyncio.create_task(client.get(f"/v1/tasks/{accepted['id']}", params={"wait": "50"}))
        preferring = asyncio.create_task(
            client.post("/v1/tasks", json=body(URL), headers={"Prefer": "wait=50"})
        )
        await _stored(client, 2)
        begun = monotonic()
        web.signal(signal.SIGTERM)
        for answer, status in ((await held, 200), (await preferring, 202)):
            assert (answer.status_code, answer.json()["status"]) == (status, "pending")
            assert answer.headers["connection"] == "close"
        assert await web.ended() == 0
        assert monotonic() - begun < 5


async def test_a_connection_that_is_kept_alive_is_answered_once_more_and_told_to_go(
    settings: Settings,
) -> None:
    one_at_a_time = httpx.Limits(max_connections=1)
    async with web_process(settings) as (web, url), caller(url, limits=one_at_a_time) as client:
        first = await client.get("/livez")
        assert "connection" not in first.headers
        web.signal(signal.SIGTERM)
        await web.logged("web.draining")
        # The connection of the first request: the listener takes no other one.
        last = await client.post("/v1/tasks", json=body(URL))
        assert (last.status_code, last.headers["connection"]) == (202, "close")
        with pytest.raises(httpx.ConnectError):
            await client.get("/livez")
        assert await web.ended() == 0
        assert [line for line in web.lines if line["level"] in ("error", "warning")] == []


async def test_a_second_signal_waits_for_no_idle_connection(settings: Settings) -> None:
    async with web_process(settings) as (web, url), caller(url) as client:
        await client.get("/livez")
        begun = monotonic()
        web.signal(signal.SIGTERM)
        await web.logged("web.draining")
        web.signal(signal.SIGTERM)
        assert await web.ended() == 0
        assert monotonic() - begun < 2.5


async def test_web_processes_are_replaced_one_by_one_on_demand(settings: Settings) -> None:
    async with web_process(settings, "--web", "2") as (web, url), caller(url) as client:
        before = await _ready(web, 2)
        web.signal(signal.SIGHUP)
        statuses = set()
        while not any(line["event"] == "web.renewed" for line in web.lines):
            statuses.add((await client.post("/v1/tasks", json=body(URL))).status_code)
        assert statuses == {202}
        after = await _ready(web, 4)
        assert len(before) == 2
        assert not set(before) & set(after[2:])
        web.signal(signal.SIGTERM)
        assert await web.ended() == 0


async def _stored(client: httpx.AsyncClient, count: int) -> None:
    """Wait until so many tasks are stored; connections are accepted in the order in which they came."""

    async def tasks() -> int:
        return len((await client.get("/v1/tasks")).json()["items"])

    await until(tasks, lambda found: found == count)


async def _ready(web: WorkerProcess, count: int) -> list[int]:
    """Wait until so many processes have got ready; gives their pids in this order."""

    async def pids() -> list[int]:
        return [line["pid"] for line in web.lines if line["event"] == "program.ready"]

    return await until(pids, lambda found: len(found) == count)
