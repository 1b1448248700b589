"""Ten tasks that kill whoever recognises them, among three hundred innocent ones."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from core.domain.task import Task
from core.settings import Settings
from core.store.tasks import get_tasks
from tests.support.poison import KILLS_ITS_WORKER
from tests.support.programs import ends_with_parent
from tests.support.sources import ROOT
from tests.support.valkey import PrivateValkey
from tests.support.worker_bench import WorkerBench, open_bench, until
from tests.support.worker_process import environment_of

WORKERS, POISON, INNOCENT = 4, 10, 300
LEASE_SECONDS = 1.0
LIMIT_SECONDS, STOP_SECONDS = 100.0, 10.0


@pytest.fixture(scope="module")
def valkey() -> Iterator[PrivateValkey]:
    with PrivateValkey() as server:
        yield server


@asynccontextmanager
async def kept_alive(settings: Settings, count: int) -> AsyncIterator[Counter[int]]:
    """Keep so many workers running, each replaced when it dies; counts the ways they ended, at the end."""
    nursery = await asyncio.create_subprocess_exec(
        *(*ends_with_parent(), sys.executable, "-m", "tests.support.nursery", str(count)),
        cwd=ROOT,
        env={**os.environ, **environment_of(settings)},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    endings = Counter[int]()
    try:
        yield endings
    finally:
        nursery.terminate()
        async with asyncio.timeout(STOP_SECONDS):
            told, _ = await nursery.communicate()
        endings.update({int(status): number for status, number in json.loads(told).items()})


async def test_ten_poison_tasks_among_three_hundred_innocent_ones_end_alone(
    sqlite_url: str, valkey: PrivateValkey, tmp_path: Path
) -> None:
    changes = {
        "queue": {"lease_seconds": LEASE_SECONDS},
        "recognise": {"children": 1, "annotate": False, "recognisers": (KILLS_ITS_WORKER,)},
    }
    async with open_bench(sqlite_url, valkey, tmp_path, changes) as bench:
        innocent, poison = await _submitted(bench)
        async with kept_alive(bench.settings, WORKERS) as endings:
            ended = await _all_ended(bench, [*innocent, *poison])
        by_id = {task.id: task for task in ended}
        assert Counter(_code(by_id[task.id]) for task in poison) == {"worker_lost": POISON}
        assert {by_id[task.id].crashes for task in poison} == {3}
        assert {by_id[task.id].status for task in innocent} == {"completed"}
        assert set(endings) == {-9}
        # One death may take two of them at once, while they still run beside others.
        assert 2 * POISON < endings[-9] <= 3 * POISON


async def _submitted(bench: WorkerBench) -> tuple[list[Task], list[Task]]:
    """Queue the poison evenly among the others."""
    url = bench.pictures.url("/picture.jpg")
    innocent, poison = [], []
    for number in range(INNOCENT):
        innocent.append(await bench.submit(url, callback_url=None))
        if number % (INNOCENT // POISON) == 0:
            poison.append(await bench.submit(url, models=("kills-its-worker",), callback_url=None))
    return innocent, poison


async def _all_ended(bench: WorkerBench, tasks: list[Task]) -> list[Task]:
    async def read() -> list[Task]:
        return await get_tasks(bench.base.db, [task.id for task in tasks])

    return await until(read, lambda found: all(task.is_final for task in found), limit_seconds=LIMIT_SECONDS)


def _code(task: Task) -> str | None:
    return task.error.code if task.error else None
