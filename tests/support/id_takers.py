"""Processes that take ids from one database; each is a process of its own with an event loop of its own."""

from __future__ import annotations

import asyncio
import multiprocessing
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from threading import Barrier

from core.ids import Ids
from core.settings import DatabaseSettings
from core.store.engine import Database
from core.store.instances import InstanceLeases

_LIMIT_SECONDS = 100
_start: list[Barrier] = []


class IdTakers:
    """So many processes that take ids at the same moment."""

    def __init__(self, pool: ProcessPoolExecutor, processes: int) -> None:
        self._pool, self._processes = pool, processes

    async def take(self, url: str, counts: list[int]) -> list[list[int]]:
        """Let each process take ids in calls of the given sizes."""
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(_LIMIT_SECONDS):
            return await asyncio.gather(
                *(loop.run_in_executor(self._pool, _take_ids, url, counts) for _ in range(self._processes))
            )


@contextmanager
def id_takers(processes: int) -> Iterator[IdTakers]:
    """Start processes that know nothing of each other."""
    spawn = multiprocessing.get_context("spawn")
    start = spawn.Barrier(processes)
    with ProcessPoolExecutor(processes, spawn, initializer=_remember, initargs=(start,)) as pool:
        yield IdTakers(pool, processes)


def _remember(start: Barrier) -> None:
    _start.append(start)


def _take_ids(url: str, counts: list[int]) -> list[int]:
    _start[0].wait(_LIMIT_SECONDS)  # until every process is there
    return asyncio.run(_take(url, counts))


async def _take(url: str, counts: list[int]) -> list[int]:
    database = Database(DatabaseSettings(url=url, pool_size=2, statement_timeout_seconds=60))
    ids = Ids(InstanceLeases(database))
    try:
        return [taken for count in counts for taken in await ids.take(count)]
    finally:
        await database.close()
