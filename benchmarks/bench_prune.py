"""Prune: a large table of old tasks, and the slowest statement while it is pruned.

The tables are filled by statements of their own; then the pruner's batches run as a worker runs
them, beside the questions that every worker asks each second, and every statement and every commit
is timed. Run: python -m benchmarks.bench_prune
"""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

from sqlalchemy import Engine, event

from benchmarks.report import where, write_section
from core.domain.task import TaskStatus
from core.settings import DatabaseSettings
from core.store import migrate
from core.store.engine import Database
from core.store.pruning import Pruned, prune_tasks
from core.store.standings import TASKS, waiting_page
from core.store.tasks import oldest_waiting_id
from tests.support.filling import Filling, fill
from tests.support.servers import PrivateMariadb

REACH_SECONDS = 1.0
DAY_SECONDS = 86_400.0
KEPT_DAYS = 30
OLDEST_DAYS = 120


@dataclass(slots=True)
class Clock:
    """Times every statement and every commit of the engines of this process."""

    slowest: dict[str, float] = field(default_factory=dict)
    purpose: str = "fill"
    statements: int = 0

    def listen(self) -> None:
        """Begin; for all engines there will be."""
        event.listen(Engine, "before_cursor_execute", self._begin)
        event.listen(Engine, "after_cursor_execute", self._end)

    def _begin(self, connection: Any, *_: Any) -> None:
        connection.info["begun"] = perf_counter()

    def _end(self, connection: Any, *_: Any) -> None:
        self.note(perf_counter() - connection.info["begun"])

    def note(self, seconds: float) -> None:
        """Remember the slowest of what is done now."""
        self.statements += 1
        self.slowest[self.purpose] = max(self.slowest.get(self.purpose, 0.0), seconds)


@asynccontextmanager
async def empty_database(kind: str) -> AsyncIterator[Database]:
    """Open a migrated database that commits to disk."""
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="muster-bench-")))
        url = f"sqlite+aiosqlite:///{folder}/muster.db"
        if kind == "mariadb":
            url = await stack.enter_context(PrivateMariadb(durable=True)).create_database()
        settings = DatabaseSettings(url=url, statement_timeout_seconds=120)
        await migrate.upgrade(settings)
        db = Database(settings)
        stack.push_async_callback(db.close)
        yield db


async def ask(db: Database) -> None:
    """What a worker asks each second, and a scrape."""
    await waiting_page(db, TASKS)
    await oldest_waiting_id(db)


@dataclass(slots=True)
class Measured:
    """What one run came to."""

    tasks: int
    fill_seconds: float
    prune_seconds: float = 0.0
    pruned: int = 0
    slowest_batch_seconds: float = 0.0


async def timed(step: Callable[[], Awaitable[Any]]) -> tuple[Any, float]:
    """What a step gives, and how long it takes with its commit."""
    begun = perf_counter()
    found = await step()
    return found, perf_counter() - begun


async def _prune(db: Database, after_id: int) -> Pruned:
    kept_seconds = KEPT_DAYS * DAY_SECONDS
    return await prune_tasks(db, TaskStatus.COMPLETED, older_than_seconds=kept_seconds, after_id=after_id)


async def measure(kind: str, count: int, most: int, clock: Clock) -> Measured:
    """Fill and prune."""
    async with empty_database(kind) as db:
        wanted = Filling(count=count, status=TaskStatus.COMPLETED, oldest_seconds=OLDEST_DAYS * DAY_SECONDS)
        _, fill_seconds = await timed(lambda: fill(db, wanted))
        measured = Measured(tasks=count, fill_seconds=fill_seconds)
        print(f"{kind}: {count:,} tasks filled in {fill_seconds:.0f} s", flush=True)
        after_id = 0
        while measured.pruned < most:
            clock.purpose = "prune"
            batch, seconds = await timed(partial(_prune, db, after_id))
            measured.prune_seconds += seconds
            measured.pruned += batch.tasks
            measured.slowest_batch_seconds = max(measured.slowest_batch_seconds, seconds)
            # A new step of the pruner begins at the front, as every minute.
            after_id = batch.last_id if measured.pruned % 10_000 else 0
            clock.purpose = "ask"
            await ask(db)
            if batch.last_id is None:
                break
        return measured


def main() -> None:
    """Measure and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", type=int, default=1_000_000)
    parser.add_argument("--most", type=int, default=100_000, help="how many to prune")
    parser.add_argument("--database", action="append", choices=["sqlite", "mariadb"])
    chosen = parser.parse_args()
    clock = Clock()
    clock.listen()
    for kind in chosen.database or ["sqlite", "mariadb"]:
        clock.slowest.clear()
        found = asyncio.run(measure(kind, chosen.tasks, chosen.most, clock))
        write(kind, found, clock)


def write(kind: str, found: Measured, clock: Clock) -> None:
    """Write the section of one database."""
    slowest = clock.slowest["prune"]
    verdict = "reached" if slowest < REACH_SECONDS else "**missed**"
    heading = (
        "| tasks in the table | pruned | rate | slowest statement | slowest batch with commit "
        "| slowest question beside it | reach | |"
    )
    row = (
        f"| {found.tasks:,} | {found.pruned:,} | {found.pruned / found.prune_seconds:,.0f}/s "
        f"| {slowest * 1000:.0f} ms | {found.slowest_batch_seconds * 1000:.0f} ms "
        f"| {clock.slowest['ask'] * 1000:.0f} ms | {REACH_SECONDS:g} s | {verdict} |"
    )
    print(kind, row, flush=True)
    note = (
        "Every task has a picture, three lines of history, a delivered callback and its log: seven rows. "
        f"{where()}. One run; batches of 100 tasks, a transaction each, flushed to disk. The questions "
        "beside it are the first page of what waits and the oldest of it."
    )
    write_section(f"Pruning a large table, {kind}", [note, "", heading, "|---" * 8 + "|", row])


if __name__ == "__main__":
    main()
