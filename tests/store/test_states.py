"""Every change is tried on a row in every state: what the table of changes allows happens, no more."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any

from core.domain.recognition import ErrorNote
from core.domain.task import TRANSITIONS, Actor, Task, TaskStatus, may_change
from core.errors import TaskIsFinal, TaskNotFinal
from core.store.attempts import End, Finished, PutBack, Stopped
from core.store.changes import retry_task
from core.store.types import server_now
from core.store.upkeep import expire_tasks, take_back_lost
from tests.support.store import Store, recognised

Change = Callable[[Store, Task], Awaitable[object]]
Step = tuple[TaskStatus, TaskStatus, Actor]
_FAULT = ErrorNote(code="image_fetch_failed", message="The connection failed.")


async def _retry(store: Store, of_task: Task) -> None:
    with suppress(TaskIsFinal, TaskNotFinal):
        await retry_task(store.db, store.ids, of_task.id)


async def _replace(store: Store, of_task: Task) -> None:
    slot = (await store.task_row(of_task)).dedup_slot or "another"
    await store.submit(await store.new(dedup_key=slot, dedup_mode="replace"))


async def _start(store: Store, of_task: Task) -> None:
    await store.start(await store.reload(of_task))


def _record(end: End | None) -> Change:
    async def record(store: Store, of_task: Task) -> None:
        await store.record(of_task, recognised(of_task.recognitions[0]), end=end)

    return record


def _take_back(max_crashes: int) -> Change:
    async def take_back(store: Store, _: Task) -> None:
        await take_back_lost(store.db, store.ids, store.promises, max_crashes=max_crashes)

    return take_back


async def _expire(store: Store, _: Task) -> None:
    await expire_tasks(store.db, store.ids, store.promises)


CHANGES: list[tuple[Actor, Change]] = [
    (Actor.API, Store.ask_to_stop),
    (Actor.API, _retry),
    (Actor.API, _replace),
    (Actor.WORKER, _start),
    (Actor.WORKER, _record(None)),
    (Actor.WORKER, _record(Finished(status=TaskStatus.COMPLETED))),
    (Actor.WORKER, _record(Finished(status=TaskStatus.FAILED, error=_FAULT))),
    (Actor.WORKER, _record(PutBack(is_failure=True))),
    (Actor.WORKER, _record(Stopped())),
    (Actor.REAPER, _take_back(3)),
    (Actor.REAPER, _take_back(1)),
    (Actor.RECONCILER, _take_back(3)),
    (Actor.RECONCILER, _take_back(1)),
    (Actor.RECONCILER, _expire),
]
CIRCUMSTANCES: list[dict[str, Any]] = [
    {},
    {"cancel_requested": True},
    {"deadline_at": server_now(-60.0)},
    {"deadline_at": server_now(-60.0), "cancel_requested": True},
    {"queue_expires_at": server_now(-60.0), "started_at": None},
    {"started_at": None},
]


async def _put(
    store: Store, begun: Task, status: TaskStatus, series: int, circumstance: dict[str, Any]
) -> None:
    """Bring the row of an attempt that was started into a state, under circumstances."""
    never_started = status is TaskStatus.PENDING and "started_at" in circumstance
    fresh = {
        "status": status,
        "series": series,  # so that every callback may be promised once more
        "crashes": 0,
        "cancel_requested": False,
        "deadline_at": server_now(60.0),
        "queue_expires_at": server_now(60.0),
        "started_at": server_now(),
        "dedup_key": f"gate-{series}",
        "dedup_slot": f"gate-{series}" if never_started else None,
        "attempt": begun.attempt,
        "claim_token": begun.claim_token,
        "worker_id": begun.worker_id,
    }
    await store.set_task(begun, **(fresh | circumstance))


async def test_every_change_is_an_allowed_one_and_each_allowed_one_happens(
    store: Store,
) -> None:
    begun = await store.running()
    happened: set[Step] = set()
    tried = 0
    for actor, change in CHANGES:
        for source in TaskStatus:
            for circumstance in CIRCUMSTANCES:
                tried += 1
                await _put(store, begun, source, 2 * tried, circumstance)
                before = await store.task_row(begun)
                await change(store, replace(begun, series=before.series))
                after = await store.task_row(begun)
                if after != before:
                    happened.add((source, TaskStatus(after.status), actor))
                    assert after.updated_at > before.updated_at
    assert {step for step in happened if not may_change(*step)} == set()
    assert happened == {(t.source, t.target, actor) for t in TRANSITIONS for actor in t.actors}


async def test_every_change_of_state_is_told_in_the_history(store: Store) -> None:
    begun = await store.running()
    await store.record(begun, end=PutBack(is_failure=True))
    (again,) = (await store.start(begun)).tasks
    await store.lose_worker(again)
    await take_back_lost(store.db, store.ids, store.promises, max_crashes=3)
    await store.ask_to_stop(again)
    await _retry(store, again)
    (third,) = (await store.start(await store.reload(again))).tasks
    await store.record(third, recognised(third.recognitions[0]), end=Finished(status=TaskStatus.COMPLETED))

    lines = await store.history(begun)

    steps = [(line.from_status, line.to_status) for line in lines]
    assert [step[1] for step in steps[:-1]] == [step[0] for step in steps[1:]]
    assert [step[1].value for step in steps] == [
        "pending", "in_progress", "pending", "in_progress", "pending", "cancelled", "pending", "in_progress",
        "completed",
    ]  # fmt: skip
    assert [line.attempt for line in lines] == [0, 1, 1, 2, 2, 2, 2, 3, 3]
