"""Accepting tasks: keys are honoured, and one bad row fails nobody else."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import select

from core.domain.recognition import Recognition
from core.domain.task import Task, TaskStatus
from core.errors import ClientIdReused, IdempotencyKeyReused, IntakeFull
from core.store.submissions import SubmissionKind, Submitted
from core.store.tables import task
from core.store.types import server_now
from tests.support.store import CAPTURED, Store

CREATED, REPLAYED, DEDUPLICATED = SubmissionKind


async def _together(store: Store, *new: Task, **settings: int) -> list[Submitted | BaseException]:
    async with store.submissions(**settings) as submissions:
        return await asyncio.gather(*(submissions.submit(one) for one in new), return_exceptions=True)


def _kinds(found: Sequence[Submitted | BaseException]) -> list[SubmissionKind]:
    assert [one for one in found if isinstance(one, BaseException)] == []
    return [one.kind for one in found if isinstance(one, Submitted)]


def _twice_first(with_two: Task) -> tuple[Recognition, ...]:
    """Two pictures at one position, which no database takes."""
    return tuple(replace(picture, position=0) for picture in with_two.recognitions)


async def test_a_task_is_stored_as_it_was_given(store: Store) -> None:
    new = await store.new(
        3,
        priority=2,
        model="ssdlite",
        min_score=0.125,
        metadata={"pen": 7, "näme": ["ü", None, {"a": 1.5}], "emoji": "🐄"},
        client_id="c-1",
        idempotency_key="i-1",
        dedup_key="gate",
        dedup_mode="replace",
        traceparent="00-" + "a" * 32 + "-" + "b" * 16 + "-01",
        queue_ttl_seconds=30,
    )
    (found,) = await store.submit(new)

    stored = await store.reload(new)
    assert found.kind is CREATED
    assert found.task == stored
    assert stored.created_at is not None
    assert stored.queue_expires_at == stored.created_at + timedelta(seconds=30)
    filled = {"created_at": None, "updated_at": None, "queue_expires_at": None}
    assert replace(stored, **filled) == new  # type: ignore[arg-type]  # three fields of one type
    row = await store.task_row(new)
    assert row.dedup_slot == "gate"
    assert row.idempotency_expires_at == stored.created_at + timedelta(hours=24)
    assert [(line.from_status, line.to_status) for line in await store.history(new)] == [(None, "pending")]


async def test_tasks_without_keys_are_all_stored(store: Store) -> None:
    new = [await store.new() for _ in range(20)]
    assert _kinds(await _together(store, *new)) == [CREATED] * 20
    assert await store.count("task") == await store.count("recognition") == 20


async def test_the_same_request_again_finds_the_first_task(store: Store) -> None:
    first, second = [await store.new(2, idempotency_key="once") for _ in range(2)]
    found = await store.submit(first, second)
    assert [(one.kind, one.task.id) for one in found] == [(CREATED, first.id), (REPLAYED, first.id)]
    assert await store.count("task") == 1
    assert found[1].task == await store.reload(first)


async def test_another_request_under_the_same_key_is_refused(store: Store) -> None:
    first = await store.pending(idempotency_key="once")
    with pytest.raises(IdempotencyKeyReused) as refused:
        await store.pending(idempotency_key="once", request_sha256="1" * 64)
    assert refused.value.faults
    assert await store.count("task") == 1
    assert (await store.reload(first)).status is TaskStatus.PENDING


async def test_the_same_key_of_another_system_is_another_key(store: Store) -> None:
    keys = {"idempotency_key": "k", "client_id": "k", "dedup_key": "k", "dedup_mode": "keep_first"}
    found = await store.submit(await store.new(1, **keys), await store.new(1, **keys, system_code="zoo"))
    assert _kinds(found) == [CREATED, CREATED]


async def test_an_expired_key_may_be_used_anew(store: Store) -> None:
    first = await store.pending(idempotency_key="once")
    day_ago = server_now(-24 * 3600.0 - 1)
    await store.set_task(first, created_at=day_ago, idempotency_expires_at=server_now(-1.0))

    (found,) = await store.submit(await store.new(idempotency_key="once", request_sha256="1" * 64))

    assert found.kind is CREATED
    assert (await store.task_row(first)).idempotency_key is None
    assert (await store.task_row(found.task)).idempotency_key == "once"


async def test_a_key_is_good_to_the_end_of_its_day(store: Store) -> None:
    first = await store.pending(idempotency_key="once")
    await store.set_task(first, created_at=server_now(-24 * 3600.0 + 20))
    (found,) = await store.submit(await store.new(idempotency_key="once"))
    assert (found.kind, found.task.id) == (REPLAYED, first.id)


async def test_a_client_id_is_unique_for_ever(store: Store) -> None:
    first = await store.pending(client_id="mine")
    await store.set_task(first, created_at=server_now(-400 * 86_400.0), status="completed")
    (found,) = await store.submit(await store.new(client_id="mine"))
    assert (found.kind, found.task.id) == (REPLAYED, first.id)
    with pytest.raises(ClientIdReused):
        await store.pending(client_id="mine", request_sha256="1" * 64)
    assert await store.count("task") == 1


@pytest.mark.parametrize("key", ["idempotency_key", "client_id", "dedup_key"])
async def test_keys_differ_by_case_and_accent(store: Store, key: str) -> None:
    keys = ({key: name, "dedup_mode": "keep_first"} for name in ("key", "Key", "KEY", "kéy"))
    new = [await store.new(1, **names) for names in keys]
    assert _kinds(await _together(store, *new)) == [CREATED] * 4


async def test_equal_keys_in_one_group_are_taken_in_order(store: Store) -> None:
    same = [await store.new(idempotency_key="once") for _ in range(5)]
    other = [await store.new() for _ in range(5)]
    found = await _together(store, *same, *other)
    assert _kinds(found) == [CREATED, *[REPLAYED] * 4, *[CREATED] * 5]
    assert {one.task.id for one in found[:5] if isinstance(one, Submitted)} == {same[0].id}
    assert await store.count("task") == 6


async def test_equal_keys_with_other_bodies_in_one_group_are_refused_one_by_one(store: Store) -> None:
    first = await store.new(client_id="mine")
    other = await store.new(client_id="mine", request_sha256="1" * 64)
    again = await store.new(client_id="mine")
    found = await _together(store, first, other, again)
    assert isinstance(found[1], ClientIdReused)
    assert _kinds([found[0], found[2]]) == [CREATED, REPLAYED]


@pytest.mark.parametrize("key", ["idempotency_key", "client_id"])
async def test_two_processes_with_one_key_store_one_row(store: Store, other_store: Store, key: str) -> None:
    for round_ in range(10):
        new = [await of.new(2, **{key: f"once-{round_}"}) for of in (store, other_store) for _ in range(3)]
        async with store.submissions() as ours, other_store.submissions() as theirs:
            parts = (ours, ours, ours, theirs, theirs, theirs)
            found = await asyncio.gather(*(p.submit(n) for p, n in zip(parts, new, strict=True)))
        assert sorted(one.kind for one in found) == [CREATED, *[REPLAYED] * 5]
        assert len({one.task.id for one in found}) == 1
    assert await store.count("task") == 10
    assert await store.count("recognition") == 20
    assert await store.count("task_event") == 10


async def test_concurrent_submissions_share_few_transactions(store: Store) -> None:
    new = [await store.new() for _ in range(100)]
    assert _kinds(await _together(store, *new, max_group=100)) == [CREATED] * 100
    async with store.db.read() as connection:
        # Each transaction stamps its rows with the one time that it read.
        stamps = (await connection.execute(select(task.c.created_at).distinct())).all()
    assert len(stamps) <= 3


async def test_a_bad_row_does_not_fail_its_neighbours(store: Store) -> None:
    new = [await store.new() for _ in range(20)]
    new[7] = replace(new[7], recognitions=_twice_first(await store.new(2)))
    new[13] = replace(new[13], created_at=None, metadata={"at": CAPTURED})
    if store.db.dialect != "sqlite":  # which keeps text of any length
        new[16] = replace(new[16], business_id="b" * 65)

    found = await _together(store, *new)

    bad = {7, 13, *([16] if store.db.dialect != "sqlite" else [])}
    assert {i for i, one in enumerate(found) if isinstance(one, BaseException)} == bad
    assert await store.count("task") == 20 - len(bad)


async def test_bad_rows_behind_equal_keys_do_not_store_their_group_twice(store: Store) -> None:
    plain = [await store.new() for _ in range(4)]
    first = [await store.new(dedup_key=key, dedup_mode="replace") for key in "ab"]
    # In the second wave of the group, when the first one has been committed.
    second = [await store.new(dedup_key=key, dedup_mode="replace") for key in "ab"]
    bad = [replace(one, recognitions=_twice_first(await store.new(2))) for one in second]

    found = await _together(store, *plain, *first, *bad)

    assert [isinstance(one, BaseException) for one in found] == [*[False] * 6, True, True]
    assert await store.count("task") == 6
    assert [(await store.reload(one)).status for one in first] == ["pending", "pending"]


async def test_a_full_intake_refuses_at_once(store: Store) -> None:
    new = [await store.new() for _ in range(12)]
    found = await _together(store, *new, max_pending=8)
    refused = [one for one in found if isinstance(one, IntakeFull)]
    assert len(refused) == 4
    assert await store.count("task") == 8


async def test_a_caller_that_leaves_does_not_tear_its_row(store: Store) -> None:
    new = [await store.new(3) for _ in range(10)]
    async with store.submissions() as submissions:
        waiting = [asyncio.ensure_future(submissions.submit(one)) for one in new]
        await asyncio.sleep(0)
        for submission in waiting[::2]:
            submission.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
    assert await store.count("recognition") == 3 * await store.count("task")
    for one in new[1::2]:
        assert (await store.reload(one)).images_total == 3
