"""What attempts write: pictures, ends and callbacks in one transaction, by the row's own claim alone."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import insert, select
from sqlalchemy.exc import IntegrityError, StatementError

from core.domain.delivery import EventType
from core.domain.recognition import ErrorNote, RecognitionStatus
from core.domain.task import TaskStatus
from core.store.attempts import End, Finished, PutBack, Record, Stopped
from core.store.recorder import Recorder
from core.store.rows import delivery_to_row
from core.store.tables import delivery, recognition
from tests.support.store import CAPTURED, Store, promised, recognised, with_pictures

_DONE = Finished(status=TaskStatus.COMPLETED)
_FAULT = ErrorNote(code="image_not_an_image", message="This is not a picture.")
_ENDS: list[End] = [_DONE, PutBack(), PutBack(is_failure=True, delay_seconds=5), Stopped()]


async def test_a_picture_is_kept_as_it_was_found(store: Store) -> None:
    begun = await store.running(2)
    seen = recognised(begun.recognitions[0], media_key="a/b.jpg", started_at=CAPTURED)

    written = await store.record(begun, seen)

    assert written.recorded.won
    stored = await store.reload(begun)
    assert stored.recognitions == (seen, begun.recognitions[1])
    assert stored.status is TaskStatus.IN_PROGRESS
    assert promised(written.deliveries) == ["task.image"]
    assert written.deliveries[0].recognition_id == seen.id


async def test_an_end_keeps_the_picture_that_came_with_it(store: Store) -> None:
    begun = await store.running(2)
    seen = recognised(begun.recognitions[0])
    bad = replace(begun.recognitions[1], status=RecognitionStatus.FAILED, error=_FAULT, completed_at=CAPTURED)
    failed = Finished(status=TaskStatus.FAILED, error=ErrorNote(code="attempts_exhausted", message="No."))

    written = await store.record(begun, seen, bad, end=failed)

    stored = await store.reload(begun)
    assert stored.recognitions == (seen, bad)
    assert (stored.status, stored.error) == (TaskStatus.FAILED, failed.error)
    assert promised(written.deliveries) == ["task.image", "task.image", "task.failed"]


async def test_a_failed_end_fails_the_pictures_that_are_open(store: Store) -> None:
    begun = await store.running(2)
    seen = recognised(begun.recognitions[0])
    await store.record(begun, seen, end=Finished(status=TaskStatus.FAILED, error=_FAULT))
    kept, open_before = (await store.reload(begun)).recognitions
    assert kept == seen
    assert (open_before.status, open_before.error) == (RecognitionStatus.FAILED, _FAULT)


async def test_an_end_writes_the_row_its_history_and_its_callback(store: Store) -> None:
    begun = await store.running()
    written = await store.record(begun, recognised(begun.recognitions[0]), end=_DONE)

    row = await store.task_row(begun)
    assert row.status == "completed"
    assert row.completed_at == row.updated_at >= row.started_at
    last = (await store.history(begun))[-1]
    assert (last.from_status, last.to_status, last.attempt) == ("in_progress", "completed", 1)
    assert promised(written.deliveries) == ["task.image", "task.completed"]
    assert await store.events(begun) == ["task.started", "task.image", "task.completed"]


async def test_result_and_callback_are_one_transaction(store: Store) -> None:
    begun = await store.running(callback_events=("task.completed",))
    # The callback's row cannot be added: one of this task, series and event is there already.
    made = store.promises.of(begun, EventType.COMPLETED, (await store.ids.take())[0], CAPTURED)
    assert made is not None
    await store.run(insert(delivery).values(delivery_to_row(made) | {"updated_at": CAPTURED}))

    with pytest.raises(IntegrityError):
        await store.record(begun, recognised(begun.recognitions[0]), end=_DONE)

    stored = await store.reload(begun)
    assert stored.status is TaskStatus.IN_PROGRESS
    assert stored.recognitions == begun.recognitions
    assert len(await store.history(begun)) == 2


@pytest.mark.parametrize("end", _ENDS, ids=repr)
@pytest.mark.parametrize(
    "stale", [{"claim_token": "another"}, {"attempt": 2}, {"claim_token": None}], ids=repr
)
async def test_a_stale_claim_writes_nothing(store: Store, end: End, stale: dict[str, object]) -> None:
    begun = await store.running()
    before = (await store.reload(begun), await store.events(begun), await store.history(begun))
    mine = replace(begun, **stale)  # type: ignore[arg-type]  # the parameters name fields of Task

    written = await store.record(mine, recognised(begun.recognitions[0]), end=end)

    assert not written.recorded.won
    assert written.deliveries == ()
    assert (await store.reload(begun), await store.events(begun), await store.history(begun)) == before


@pytest.mark.parametrize("end", [_DONE, PutBack(), PutBack(is_failure=True, delay_seconds=5)], ids=repr)
async def test_an_end_whose_answer_was_lost_is_known_again(store: Store, end: End) -> None:
    begun = await store.running()
    first = await store.record(begun, recognised(begun.recognitions[0]), end=end)
    before = (await store.events(begun), await store.history(begun))

    again = await store.record(begun, recognised(begun.recognitions[0]), end=end)

    assert again.recorded.won
    assert again.recorded.task.status == first.recorded.task.status
    assert again.deliveries == ()
    assert (await store.events(begun), await store.history(begun)) == before


async def test_a_picture_whose_answer_was_lost_is_promised_once(store: Store) -> None:
    begun = await store.running(2)
    seen = recognised(begun.recognitions[0])
    await store.record(begun, seen)
    again = await store.record(begun, seen)
    assert again.recorded.won
    assert again.deliveries == ()
    assert await store.events(begun) == ["task.started", "task.image"]


async def test_an_end_that_another_attempt_has_passed_is_not_taken_for_ours(store: Store) -> None:
    begun = await store.running()
    await store.record(begun, end=PutBack())
    await store.start(begun)
    assert not (await store.record(begun, end=_DONE)).recorded.won


async def test_a_failed_run_costs_budget_and_waits(store: Store) -> None:
    begun = await store.running()
    after = (await store.record(begun, end=PutBack(is_failure=True, delay_seconds=12.5))).recorded.task
    row = await store.task_row(begun)
    assert (row.status, row.attempt, row.failures, row.crashes) == ("pending", 1, 1, 0)
    assert row.next_attempt_at - row.updated_at == timedelta(seconds=12.5)
    assert after.next_attempt_at == row.next_attempt_at
    assert row.completed_at is None


async def test_a_drained_attempt_costs_nothing(store: Store) -> None:
    begun = await store.running()
    await store.record(begun, end=PutBack(why="drained"))
    row = await store.task_row(begun)
    assert (row.status, row.attempt, row.failures, row.crashes) == ("pending", 1, 0, 0)
    assert row.next_attempt_at is None
    assert (await store.history(begun))[-1].why == "drained"


async def test_failures_add_up_over_attempts(store: Store) -> None:
    current = await store.running()
    for expected in (1, 2, 3):
        after = (await store.record(current, end=PutBack(is_failure=True))).recorded.task
        assert (await store.task_row(current)).failures == expected
        (current,) = (await store.start(after)).tasks
        assert current.attempt == expected + 1


@pytest.mark.parametrize("end", [PutBack(), PutBack(is_failure=True), Stopped()], ids=repr)
async def test_a_task_to_be_stopped_ends_instead_of_going_back(store: Store, end: End) -> None:
    begun = await store.running(2)
    await store.ask_to_stop(begun)

    written = await store.record(begun, recognised(begun.recognitions[0]), end=end)

    stored = await store.reload(begun)
    assert written.recorded.won
    assert written.recorded.task.status is stored.status is TaskStatus.CANCELLED
    assert stored.error is not None
    assert stored.error.code == "cancelled_by_caller"
    assert [p.status for p in stored.recognitions] == ["completed", "failed"]
    assert promised(written.deliveries) == ["task.image", "task.cancelled"]


async def test_a_task_that_nobody_wants_stopped_is_not_stopped(store: Store) -> None:
    begun = await store.running()
    assert not (await store.record(begun, end=Stopped())).recorded.won
    assert (await store.task_row(begun)).status == "in_progress"


async def test_a_request_to_stop_that_came_too_late_leaves_the_result(store: Store) -> None:
    begun = await store.running()
    await store.ask_to_stop(begun)
    await store.record(begun, recognised(begun.recognitions[0]), end=_DONE)
    assert (await store.task_row(begun)).status == "completed"


async def test_one_bad_record_leaves_its_neighbours_whole(store: Store) -> None:
    tasks = [await store.running() for _ in range(6)]
    records = [
        Record(task=with_pictures(one, seen), ended_pictures=(seen,), end=_DONE)
        for one in tasks
        for seen in [recognised(one.recognitions[0])]
    ]
    bad = recognised(tasks[2].recognitions[0], started_at=CAPTURED.replace(tzinfo=None))
    records[2] = replace(records[2], ended_pictures=(bad,))

    async with Recorder(store.db, store.ids, store.promises) as recorder:
        found = await asyncio.gather(*(recorder.write(one) for one in records), return_exceptions=True)

    assert isinstance(found[2], StatementError)
    statuses = [(await store.task_row(one)).status for one in tasks]
    assert statuses == [*["completed"] * 2, "in_progress", *["completed"] * 3]


async def test_the_attempt_that_ended_a_picture_is_kept(store: Store) -> None:
    begun = await store.running()
    (again,) = (await store.start((await store.record(begun, end=PutBack())).recorded.task)).tasks
    await store.record(again, recognised(again.recognitions[0]), end=_DONE)
    async with store.db.read() as connection:
        statement = select(recognition.c.attempt).where(recognition.c.task_id == begun.id)
        assert (await connection.execute(statement)).scalar_one() == 2
