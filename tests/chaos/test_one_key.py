"""One Idempotency-Key, two web processes, many requests in flight: one task, told to all of them."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.valkey import PrivateValkey
from tests.support.web_process import body, caller, web_and_worker_settings, web_process

pytestmark = pytest.mark.mariadb

URL = "http://127.0.0.1:9/nobody-fetches-it.jpg"
KEYS, AT_ONCE = 20, 3


@pytest.fixture(scope="module")
def valkey() -> Iterator[PrivateValkey]:
    with PrivateValkey() as server:
        yield server


@pytest.fixture
async def doors(
    mariadb_url: str, valkey: PrivateValkey, tmp_path: Path
) -> AsyncIterator[list[httpx.AsyncClient]]:
    """Give callers of two web processes over one database."""
    settings = await web_and_worker_settings(mariadb_url, valkey, tmp_path)
    async with AsyncExitStack() as stack:
        urls = [(await stack.enter_async_context(web_process(settings)))[1] for _ in range(2)]
        yield [await stack.enter_async_context(caller(url)) for url in urls]


async def _sent(client: httpx.AsyncClient, key: str, **changes: Any) -> httpx.Response:
    return await client.post("/v1/tasks", json=body(URL, **changes), headers={"Idempotency-Key": key})


async def _in_flight(doors: list[httpx.AsyncClient], key: str, **changes: Any) -> list[httpx.Response]:
    return await asyncio.gather(*(_sent(door, key, **changes) for door in doors for _ in range(AT_ONCE)))


async def test_identical_requests_in_flight_at_two_processes_make_one_task(
    doors: list[httpx.AsyncClient],
) -> None:
    groups = await asyncio.gather(*(_in_flight(doors, f"k-{number}") for number in range(KEYS)))
    for answers in groups:
        assert Counter(answer.status_code for answer in answers) == {202: 1, 200: 2 * AT_ONCE - 1}
        assert len({answer.json()["id"] for answer in answers}) == 1
        replayed = [answer for answer in answers if answer.headers.get("idempotent-replayed") == "true"]
        assert {answer.status_code for answer in replayed} == {200}
        assert len(replayed) == 2 * AT_ONCE - 1
    listed = await doors[0].get("/v1/tasks", params={"page_size": 500})
    assert len(listed.json()["items"]) == KEYS


async def test_another_body_is_refused_at_both_and_a_refused_request_is_not_remembered(
    doors: list[httpx.AsyncClient],
) -> None:
    refused = await asyncio.gather(*(_sent(door, "k", priority=11) for door in doors))
    assert {answer.status_code for answer in refused} == {422}
    assert (await _sent(doors[0], "k")).status_code == 202
    for door in doors:
        answer = await _sent(door, "k", priority=1)
        assert (answer.status_code, answer.json()["code"]) == (422, "idempotency_key_reused")
    mixed = await asyncio.gather(*(_sent(doors[n % 2], "both", priority=n % 2) for n in range(8)))
    assert Counter(answer.status_code for answer in mixed) == {202: 1, 200: 3, 422: 4}


async def test_a_key_that_was_answered_with_the_first_of_its_dedup_key_is_replayed_at_both(
    doors: list[httpx.AsyncClient],
) -> None:
    dedup = {"key": "gate-3", "mode": "keep_first"}
    first = (await _sent(doors[0], "first", dedup=dedup)).json()
    answers = await _in_flight(doors, "second", dedup=dedup)
    assert {answer.json()["id"] for answer in answers} == {first["id"]}
    told = Counter(
        "replayed" if "idempotent-replayed" in answer.headers else answer.headers["muster-deduplicated"]
        for answer in answers
    )
    assert told == {"true": 1, "replayed": 2 * AT_ONCE - 1}
    # The first one has ended: without its key the request would make a task.
    assert (await doors[0].post(f"/v1/tasks/{first['id']}/cancel")).status_code == 200
    again = await _sent(doors[1], "second", dedup=dedup)
    assert (again.status_code, again.json()["id"]) == (200, first["id"])
    assert again.headers["idempotent-replayed"] == "true"
