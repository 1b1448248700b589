"""A dedup key: the first waiting task is kept, or the latest takes its place."""

from __future__ import annotations

import asyncio
from uuid import uuid4

from core.domain.task import TaskStatus
from core.store.attempts import PutBack
from core.store.starts import Starts
from core.store.submissions import SubmissionKind, Submitted
from tests.support.store import Store, members

CREATED, _, DEDUPLICATED = SubmissionKind
FIRST = {"dedup_key": "gate", "dedup_mode": "keep_first"}
REPLACE = {"dedup_key": "gate", "dedup_mode": "replace"}


async def test_keep_first_gives_the_task_that_waits(store: Store) -> None:
    first = await store.pending(1, **FIRST)
    (found,) = await store.submit(await store.new(1, **FIRST, request_sha256="1" * 64))
    assert (found.kind, found.task) == (DEDUPLICATED, await store.reload(first))
    assert await store.count("task") == 1


async def test_replace_cancels_the_task_that_waits(store: Store) -> None:
    first = await store.pending(2, **REPLACE)
    (found,) = await store.submit(await store.new(1, **REPLACE))

    assert found.kind is CREATED
    old = await store.reload(first)
    assert old.status is TaskStatus.CANCELLED
    assert old.error is not None
    assert old.error.code == "superseded"
    assert old.completed_at == found.task.created_at
    assert {picture.status for picture in old.recognitions} == {"failed"}
    assert found.superseded is not None
    assert (found.superseded.id, found.superseded.status) == (first.id, TaskStatus.CANCELLED)
    assert await store.events(first) == ["task.cancelled"]
    assert [line.why for line in await store.history(first)] == ["submitted", "superseded"]
    assert (await store.task_row(first)).dedup_slot is None
    assert (await store.task_row(found.task)).dedup_slot == "gate"


async def test_a_started_task_is_not_replaced(store: Store) -> None:
    first = await store.running(1, **REPLACE)
    (found,) = await store.submit(await store.new(1, **REPLACE))
    assert (found.kind, found.superseded) == (CREATED, None)
    assert (await store.reload(first)).status is TaskStatus.IN_PROGRESS


async def test_a_task_that_was_put_back_is_not_replaced(store: Store) -> None:
    first = await store.running(1, **REPLACE)
    await store.record(first, end=PutBack())
    (found,) = await store.submit(await store.new(1, **REPLACE))
    assert found.superseded is None
    assert (await store.reload(first)).status is TaskStatus.PENDING


async def test_a_started_task_is_not_kept_first(store: Store) -> None:
    await store.running(1, **FIRST)
    assert [one.kind for one in await store.submit(await store.new(1, **FIRST))] == [CREATED]


async def test_of_many_in_one_group_the_last_one_waits(store: Store) -> None:
    new = [await store.new(1, **REPLACE) for _ in range(6)]
    async with store.submissions() as submissions:
        found = await asyncio.gather(*(submissions.submit(one) for one in new))
    assert [one.kind for one in found] == [CREATED] * 6
    statuses = [(await store.reload(one)).status for one in new]
    assert statuses == [*["cancelled"] * 5, "pending"]
    superseded = [one.superseded.id if one.superseded else None for one in found]
    assert superseded == [None, *(one.id for one in new[:5])]


async def test_of_many_in_two_processes_one_waits(store: Store, other_store: Store) -> None:
    for _ in range(5):
        new = [await of.new(1, **REPLACE) for of in (store, other_store) for _ in range(3)]
        async with store.submissions() as ours, other_store.submissions() as theirs:
            parts = (ours, ours, ours, theirs, theirs, theirs)
            found = await asyncio.gather(*(p.submit(n) for p, n in zip(parts, new, strict=True)))
        assert {one.kind for one in found} == {CREATED}
        statuses = [(await store.reload(one.task)).status for one in found]
        assert sorted(statuses) == [*["cancelled"] * 5, "pending"]


async def test_a_replacement_and_a_start_at_once_leave_one_winner(store: Store, other_store: Store) -> None:
    worker_id = await other_store.open_worker()

    async def submit() -> Submitted:
        return (await store.submit(await store.new(1, **REPLACE)))[0]

    for _ in range(10):
        first = await submit()
        start: Starts
        replaced, start = await asyncio.gather(
            submit(), other_store.start(first.task, worker_id=worker_id, token=uuid4().hex)
        )
        status = (await store.reload(first.task)).status
        if replaced.superseded is not None:
            assert (status, start.tasks) == (TaskStatus.CANCELLED, ())
        else:
            assert (status, [begun.id for begun in start.tasks]) == (TaskStatus.IN_PROGRESS, [first.task.id])
        assert replaced.kind is CREATED
        assert members(replaced.task)[0].attempt == 1
