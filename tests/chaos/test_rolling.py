"""Every process replaced under load, one after the other: nothing is lost and nobody refused."""

from __future__ import annotations

import asyncio
import signal
from collections import Counter
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from core.store.tasks import get_tasks
from tests.support.behaviours import reply
from tests.support.valkey import PrivateValkey
from tests.support.web_process import body, caller, web_process
from tests.support.worker_bench import PICTURE, WorkerBench, open_bench, until
from tests.support.worker_process import WorkerProcess, worker_process

pytestmark = pytest.mark.mariadb

CALLERS, WORKERS, PICTURE_SECONDS = 6, 4, 0.05


@pytest.fixture(scope="module")
def valkey() -> Iterator[PrivateValkey]:
    with PrivateValkey() as server:
        yield server


async def test_a_rolling_restart_of_web_and_workers_loses_nothing_and_refuses_nothing(
    mariadb_url: str, valkey: PrivateValkey, tmp_path: Path
) -> None:
    changes = {"recognise": {"children": 1, "annotate": False}}
    over, statuses, accepted = asyncio.Event(), Counter[int](), set[int]()

    async def calls(url: str, picture: str) -> None:
        """Submit again and again over a connection that is kept, as a business system does."""
        async with caller(url) as client:
            while not over.is_set():
                answer = await client.post("/v1/tasks", json=body(picture))
                statuses[answer.status_code] += 1
                accepted.add(int(answer.json()["id"]))
                await asyncio.sleep(PICTURE_SECONDS)

    async with open_bench(mariadb_url, valkey, tmp_path, changes) as bench, AsyncExitStack() as stack:
        bench.pictures.default = reply(200, PICTURE)
        web, url = await stack.enter_async_context(web_process(bench.settings, "--web", "2"))
        workers = [await _begun(stack, bench) for _ in range(WORKERS)]
        async with asyncio.TaskGroup() as group:
            for _ in range(CALLERS):
                group.create_task(calls(url, bench.pictures.url("/picture.jpg")))
            await _grown(accepted, 50)
            web.signal(signal.SIGHUP)
            for worker in workers:
                await _replaced(stack, bench, worker)
            await web.logged("web.renewed", limit_seconds=60)
            await _grown(accepted, 50)
            over.set()
        assert set(statuses) == {202}
        assert statuses[202] == len(accepted)
        await _all_completed(bench, accepted)
        ready = [line for line in web.lines if line["event"] == "program.ready"]
        assert len(ready) == 4


async def _begun(stack: AsyncExitStack, bench: WorkerBench) -> WorkerProcess:
    return await stack.enter_async_context(worker_process(bench.settings))


async def _replaced(stack: AsyncExitStack, bench: WorkerBench, worker: WorkerProcess) -> None:
    """Drain a worker, and put another in its place when it has gone."""
    worker.signal(signal.SIGTERM)
    assert await worker.ended() == 0
    assert [line for line in worker.lines if line["level"] == "error"] == []
    await _begun(stack, bench)


async def _grown(accepted: set[int], by: int) -> None:
    goal = len(accepted) + by

    async def count() -> int:
        return len(accepted)

    await until(count, lambda found: found >= goal)


async def _all_completed(bench: WorkerBench, accepted: set[int]) -> None:
    async def read() -> list[Any]:
        return await get_tasks(bench.base.db, sorted(accepted))

    found = await until(read, lambda tasks: all(task.is_final for task in tasks), limit_seconds=40)
    assert len(found) == len(accepted)
    assert {(task.status, task.failures, task.crashes) for task in found} == {("completed", 0, 0)}
