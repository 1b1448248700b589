"""A dedup key: the first waiting task is kept, or the latest takes its place."""

from __future__ import annotations

import asyncio
from uuid import uuid4

import pytest
from sqlalchemy import update

from core.domain.task import TaskStatus
from core.errors import IdempotencyKeyReused
from core.store.attempts import PutBack
from core.store.changes import delete_task
from core.store.starts import Starts
from core.store.submissions import SubmissionKind, Submitted
from core.store.tables import remembered_key
from core.store.types import server_now
from tests.support.store import Store, members

CREATED, REPLAYED, DEDUPLICATED = SubmissionKind
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


async def test_of_many_who_ask_for_the_first_in_two_processes_all_get_one(
    store: Store, other_store: Store
) -> None:
    for turn in range(5):
        first = {"dedup_key": f"gate-{turn}", "dedup_mode": "keep_first"}
        new = [await of.new(1, **first) for of in (store, other_store) for _ in range(3)]
        async with store.submissions() as ours, other_store.submissions() as theirs:
            parts = (ours, ours, ours, theirs, theirs, theirs)
            found = await asyncio.gather(*(p.submit(n) for p, n in zip(parts, new, strict=True)))
        assert sorted(one.kind for one in found) == [CREATED, *[DEDUPLICATED] * 5]
        assert len({one.task.id for one in found}) == 1


async def test_a_key_that_was_answered_with_the_first_is_answered_with_it_again(store: Store) -> None:
    first = await store.pending(1, **FIRST)
    (found,) = await store.submit(await store.new(1, **FIRST, idempotency_key="k"))
    assert (found.kind, found.task.id) == (DEDUPLICATED, first.id)
    # By now the first one has left the slot: without its key the request would make a task.
    await store.record((await store.start(first)).tasks[0], end=PutBack())
    (again,) = await store.submit(await store.new(1, **FIRST, idempotency_key="k"))
    assert (again.kind, again.task.id) == (REPLAYED, first.id)
    assert await store.count("task") == 1
    other = await store.new(1, **FIRST, idempotency_key="k", request_sha256="1" * 64)
    with pytest.raises(IdempotencyKeyReused):
        await store.submit(other)


async def test_such_a_key_may_be_used_anew_after_a_day_and_goes_with_its_task(store: Store) -> None:
    keyed = {**FIRST, "idempotency_key": "k"}
    first = await store.pending(1, **FIRST)
    await store.submit(await store.new(1, **keyed))
    await store.run(update(remembered_key).values(expires_at=server_now(-1.0)))
    await store.start(first)
    (anew,) = await store.submit(await store.new(1, **keyed))
    assert anew.kind is CREATED
    assert (await store.submit(await store.new(1, **keyed)))[0].kind is REPLAYED
    assert await store.count("remembered_key") == 1
    await store.ask_to_stop(anew.task)
    await delete_task(store.db, anew.task.id)
    assert await store.count("remembered_key") == 0


async def test_one_key_that_asks_for_the_first_in_two_processes_at_once_has_one_answer(
    store: Store, other_store: Store
) -> None:
    worker_id = await store.open_worker()
    for turn in range(8):
        first = {"dedup_key": f"gate-{turn}", "dedup_mode": "keep_first"}
        waiting = await store.pending(1, **first)
        new = [await of.new(1, **first, idempotency_key=f"k-{turn}") for of in (store, other_store)]
        async with store.submissions() as ours, other_store.submissions() as theirs:
            # Whether the first one still waits when they come is left to chance.
            one, other, _ = await asyncio.gather(
                ours.submit(new[0]), theirs.submit(new[1]), store.start(waiting, worker_id=worker_id)
            )
        assert one.task.id == other.task.id
        assert REPLAYED in (one.kind, other.kind)
