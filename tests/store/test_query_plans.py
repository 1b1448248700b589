"""What is asked every second, and what erases, finds its rows by an index on every database."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Engine, event, text

from core.domain.task import TaskStatus
from core.store.attempts import Finished
from core.store.deliveries import take_back_lost_deliveries
from core.store.pruning import known_tasks, prune_tasks, prune_workers
from core.store.standings import DELIVERIES, TASKS, standings, waiting_page
from core.store.tasks import oldest_waiting_id
from core.store.types import server_now
from core.store.upkeep import expire_tasks, take_back_lost
from tests.support.filling import Filling, fill
from tests.support.store import Store, recognised

LARGE = {"task", "recognition", "task_event", "delivery", "delivery_attempt"}
DAY_SECONDS = 86_400.0
Statement = tuple[str, Any]


@contextmanager
def heard() -> Iterator[list[Statement]]:
    """Hear every statement that asks, changes or deletes."""
    met: list[Statement] = []

    def listen(
        _connection: Any, _cursor: Any, statement: str, values: Any, _context: Any, many: bool
    ) -> None:
        if not many and statement.startswith(("SELECT", "UPDATE", "DELETE")):
            met.append((statement, values))

    event.listen(Engine, "before_cursor_execute", listen)
    try:
        yield met
    finally:
        event.remove(Engine, "before_cursor_execute", listen)


async def explained(store: Store, statement: str, values: Any) -> list[Any]:
    how = {"sqlite": "EXPLAIN QUERY PLAN", "postgresql": "EXPLAIN (FORMAT JSON)"}.get(
        store.db.dialect, "EXPLAIN"
    )
    async with store.db.read() as connection:
        return list((await connection.exec_driver_sql(f"{how} {statement}", values)).mappings())


def scanned(dialect: str, plan: list[Any]) -> set[str]:
    """The tables that are read from beginning to end, by themselves or by one of their indexes."""
    if dialect == "sqlite":
        steps = [row["detail"].split() for row in plan]
        return {step[1] for step in steps if step[0] == "SCAN"}
    if dialect == "postgresql":
        told = plan[0]["QUERY PLAN"]
        return set(_scanned_nodes((json.loads(told) if isinstance(told, str) else told)[0]["Plan"]))
    return {row["table"] for row in plan if row["type"] in ("ALL", "index")}


def _scanned_nodes(node: dict[str, Any]) -> Iterator[str]:
    whole = node["Node Type"] == "Seq Scan"
    by_index = node["Node Type"].startswith("Index") and "Index Cond" not in node
    if (whole or by_index) and "Relation Name" in node:
        yield node["Relation Name"]
    for part in node.get("Plans", ()):
        yield from _scanned_nodes(part)


@pytest.fixture
async def large(store: Store) -> Store:
    """Give a store with many ended tasks, many that wait, a few that are due, running or lost."""
    ended = Filling(
        count=20_000, status=TaskStatus.COMPLETED, oldest_seconds=120 * DAY_SECONDS, newest_seconds=3600
    )
    await fill(store.db, ended)
    await fill(store.db, Filling(count=3000, status=TaskStatus.PENDING, oldest_seconds=3000))
    for _ in range(3):
        await store.set_task(await store.pending(), queue_expires_at=server_now(-1.0))
        await store.lose_worker(await store.running())
        begun = await store.running(callback_events=("task.completed",))
        await store.record(
            begun, recognised(begun.recognitions[0]), end=Finished(status=TaskStatus.COMPLETED)
        )
    for table in LARGE:
        analyse = "ANALYZE TABLE" if store.db.dialect == "mysql" else "ANALYZE"
        await store.run(text(f"{analyse} {table}"))
    return store


async def _expire(store: Store) -> object:
    return await expire_tasks(store.db, store.ids, store.promises)


async def _take_back(store: Store) -> object:
    return await take_back_lost(store.db, store.ids, store.promises, max_crashes=1)


async def _take_back_deliveries(store: Store) -> object:
    return await take_back_lost_deliveries(store.db, max_crashes=3)


async def _scan(store: Store) -> object:
    since = await store.db.now() - timedelta(seconds=120)
    first = await waiting_page(store.db, TASKS, limit=100)
    return [
        await waiting_page(store.db, TASKS, after=first[-1], limit=100),
        await waiting_page(store.db, DELIVERIES, limit=100),
        await waiting_page(store.db, TASKS, changed_after=since),
        await waiting_page(store.db, TASKS, changed_after=since, after=first[-1]),
        await waiting_page(store.db, DELIVERIES, changed_after=since),
    ]


async def _compare(store: Store) -> object:
    ids = [row.member.id for row in await waiting_page(store.db, TASKS)]
    return [
        await standings(store.db, TASKS, ids),
        await standings(store.db, DELIVERIES, ids),
        await known_tasks(store.db, ids),
        await oldest_waiting_id(store.db),
    ]


async def _prune(store: Store) -> object:
    found = await prune_tasks(store.db, TaskStatus.COMPLETED, older_than_seconds=30 * DAY_SECONDS)
    assert found.tasks == 100
    for status in (TaskStatus.FAILED, TaskStatus.CANCELLED, TaskStatus.EXPIRED):
        await prune_tasks(store.db, status, older_than_seconds=1.0)
    return await prune_workers(store.db, older_than_seconds=0.0)


_DUTIES = [_expire, _take_back, _take_back_deliveries, _scan, _compare, _prune]


async def test_no_duty_reads_a_large_table_from_beginning_to_end(large: Store) -> None:
    duties: list[Callable[[Store], Awaitable[object]]] = list(_DUTIES)
    reads: dict[str, set[str]] = {}
    for duty in duties:
        with heard() as statements:
            await duty(large)
        assert statements
        for statement, values in statements:
            whole = scanned(large.db.dialect, await explained(large, statement, values)) & LARGE
            if whole:
                reads[f"{duty.__name__}: {statement}"] = whole
    assert reads == {}


async def test_a_question_without_an_index_is_found_out(large: Store) -> None:
    statement = "SELECT id FROM task WHERE error_message = 'none'"
    assert scanned(large.db.dialect, await explained(large, statement, ())) == {"task"}
