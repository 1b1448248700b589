"""The database away, killed or hanging: refused in time, nothing piled up, nothing lost, nobody blamed."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from pathlib import Path
from time import monotonic

import httpx
import pytest

from core.domain.task import Task, TaskStatus
from core.settings import Settings
from tests.support.api import open_api
from tests.support.availability import unavailable
from tests.support.behaviours import reply
from tests.support.programs import ProgramMissingError
from tests.support.servers import PrivateMariadb
from tests.support.valkey import PrivateValkey
from tests.support.web_process import body, caller, web_and_worker_settings, web_process
from tests.support.worker_bench import PICTURE, WorkerBench, gated, open_bench, until, worker_ids
from tests.support.worker_process import worker_process

pytestmark = pytest.mark.mariadb

IN_TIME_SECONDS = 2.0
AT_ONCE, ROUNDS = 30, 4
LEASE_SECONDS = 1.5
SLOTS = 2
WAYS = ["killed", "hanging"]
STARTER = ThreadPoolExecutor(1)
"""A thread that stays: a server ends with the thread that started it."""
URL = "http://127.0.0.1:9/nobody-fetches-it.jpg"


@pytest.fixture(scope="module")
def valkey() -> Iterator[PrivateValkey]:
    with PrivateValkey() as server:
        yield server


@pytest.fixture(scope="module")
def own_mariadb() -> Iterator[PrivateMariadb]:
    """Serve a database that these tests may kill."""
    try:
        server = PrivateMariadb(durable=False)
    except ProgramMissingError as error:
        unavailable(str(error))
    with server:
        yield server


def _take_away(server: PrivateMariadb, way: str) -> None:
    if way == "killed":
        server.kill()
    else:
        server.freeze()


async def _bring_back(server: PrivateMariadb, way: str) -> None:
    if way == "killed":
        await asyncio.get_running_loop().run_in_executor(STARTER, server.start)
    else:
        server.thaw()


@pytest.fixture
async def settings(own_mariadb: PrivateMariadb, valkey: PrivateValkey, tmp_path: Path) -> Settings:
    return await web_and_worker_settings(await own_mariadb.create_database(), valkey, tmp_path)


async def _asked(client: httpx.AsyncClient, method: str) -> tuple[httpx.Response, float]:
    begun = monotonic()
    if method == "POST":
        answer = await client.post("/v1/tasks", json=body(URL))
    else:
        answer = await client.get("/v1/tasks")
    return answer, monotonic() - begun


async def _round(client: httpx.AsyncClient) -> list[tuple[httpx.Response, float]]:
    return await asyncio.gather(*(_asked(client, method) for method in ["POST", "GET"] * AT_ONCE))


def _threads_and_files(pid: int) -> tuple[int, int]:
    """Count a process's threads and what it has open, connections of callers left out."""
    threads = len(list(Path(f"/proc/{pid}/task").iterdir()))
    return threads, len(list(Path(f"/proc/{pid}/fd").iterdir()))


@pytest.mark.parametrize("way", WAYS)
async def test_callers_are_refused_in_time_and_nothing_piles_up_in_the_web_process(
    settings: Settings, own_mariadb: PrivateMariadb, way: str
) -> None:
    limits = httpx.Limits(max_connections=2 * AT_ONCE, max_keepalive_connections=2 * AT_ONCE)
    async with web_process(settings) as (web, url), caller(url, limits=limits) as client:
        for answer, _ in await _round(client):
            assert answer.status_code in (200, 202)
        before = _threads_and_files(web.pid)
        _take_away(own_mariadb, way)
        try:
            seconds = []
            for _ in range(ROUNDS):
                for answer, spent in await _round(client):
                    assert (answer.status_code, answer.json()["code"]) == (503, "database_unavailable")
                    assert int(answer.headers["retry-after"]) > 0
                    seconds.append(spent)
            assert max(seconds) < IN_TIME_SECONDS
            assert (await client.get("/livez")).status_code == 200
            threads, files = _threads_and_files(web.pid)
            assert threads <= before[0]
            assert files <= before[1]
        finally:
            await _bring_back(own_mariadb, way)
        await until(lambda: _asked(client, "POST"), lambda found: found[0].status_code == 202)
        assert {answer.status_code for answer, _ in await _round(client)} == {200, 202}


@pytest.mark.parametrize("way", WAYS)
async def test_an_outage_of_four_leases_costs_no_task_a_crash_and_loses_no_result(
    own_mariadb: PrivateMariadb, valkey: PrivateValkey, tmp_path: Path, way: str
) -> None:
    changes = {
        "queue": {"lease_seconds": LEASE_SECONDS},
        "worker": {"slots": SLOTS},
        "recognise": {"children": 1},
    }
    url = await own_mariadb.create_database()
    async with open_bench(url, valkey, tmp_path, changes) as bench, AsyncExitStack() as stack:
        workers = [await stack.enter_async_context(worker_process(bench.settings)) for _ in range(2)]
        living = sorted(await until(lambda: worker_ids(bench), lambda ids: len(list(ids)) == 2))
        gate = asyncio.Event()
        urls = [bench.pictures.serve(f"/{n}.jpg", gated(gate, reply(200, PICTURE))) for n in range(2 * SLOTS)]
        held = [await bench.submit(url) for url in urls]
        await bench.pictures.wait_for_requests(2 * SLOTS)
        waiting = [await bench.submit(bench.pictures.url("/waiting.jpg")) for _ in range(6)]
        _take_away(own_mariadb, way)
        gate.set()
        for worker in workers:
            await worker.logged("attempt.held")
        await _lasts(4 * LEASE_SECONDS)
        # Results that are held fill the slots: nothing more is begun than a worker may hold.
        assert bench.fetches("/waiting.jpg") == 0
        await _bring_back(own_mariadb, way)
        for task in (*held, *waiting):
            await _is_done_at_the_first_attempt(bench, task)
        assert Counter(request.path for request in bench.pictures.requests) == {
            **{f"/{n}.jpg": 1 for n in range(2 * SLOTS)},
            "/waiting.jpg": 6,
        }
        assert sorted(await worker_ids(bench)) == living
        said = [line["event"] for worker in workers for line in worker.lines]
        assert "worker.declared_dead" not in said


async def _lasts(seconds: float) -> None:
    """Let an outage last: it is the time itself that is wanted."""
    await asyncio.sleep(seconds)


async def _is_done_at_the_first_attempt(bench: WorkerBench, task: Task) -> None:
    after = await bench.ended(task)
    counters = (after.attempt, after.failures, after.crashes)
    assert (after.status, counters) == (TaskStatus.COMPLETED, (1, 0, 0))
    sent, _ = await bench.delivery_ended(task)
    assert sent.status == "delivered"


async def test_no_error_reaches_a_caller_twice_for_one_key_while_the_database_is_restarted(
    settings: Settings, own_mariadb: PrivateMariadb
) -> None:
    over = asyncio.Event()
    errors: Counter[str] = Counter()
    ids: dict[str, str] = {}

    async def calls(client: httpx.AsyncClient, name: str) -> None:
        number = 0
        while not over.is_set():
            number += 1
            ids[f"{name}-{number}"] = await _accepted(client, f"{name}-{number}", errors)

    async with web_process(settings) as (_, url), caller(url) as client, asyncio.TaskGroup() as group:
        for name in "abcdefgh":
            group.create_task(calls(client, name))
        for end in (own_mariadb.stop, own_mariadb.kill, own_mariadb.stop):
            await _grown(ids, by=50)
            loop = asyncio.get_running_loop()
            await loop.run_in_executor(STARTER, end)
            await loop.run_in_executor(STARTER, own_mariadb.start)
        await _grown(ids, by=50)
        over.set()
    assert max(errors.values(), default=0) <= 1
    assert len(set(ids.values())) == len(ids)


async def _grown(ids: dict[str, str], *, by: int) -> None:
    """Wait until so many more were accepted."""
    goal = len(ids) + by

    async def count() -> int:
        return len(ids)

    await until(count, lambda found: found >= goal)


async def _accepted(client: httpx.AsyncClient, key: str, errors: Counter[str]) -> str:
    """Submit under a key until it is accepted, waiting as long as the answers ask for; gives the id."""
    while True:
        answer = await client.post("/v1/tasks", json=body(URL), headers={"Idempotency-Key": key})
        if answer.status_code in (200, 202):
            return str(answer.json()["id"])
        assert answer.status_code == 503, answer.text
        errors[key] += 1
        await asyncio.sleep(int(answer.headers["retry-after"]))


async def test_no_task_of_the_event_loop_stays_behind_a_refused_request(
    settings: Settings, own_mariadb: PrivateMariadb
) -> None:
    async with open_api(settings) as api:
        await api.accepted(body(URL))
        before = len(asyncio.all_tasks())
        own_mariadb.freeze()
        try:
            for _ in range(3):
                answers = await asyncio.gather(*(api.get("/v1/tasks") for _ in range(50)))
                assert {answer.status for answer in answers} == {503}
            # One more asks the database for a sign of life.
            assert len(asyncio.all_tasks()) <= before + 1
        finally:
            own_mariadb.thaw()
