"""What callers ask for: cancel, retry, delete."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import insert

from core.domain.recognition import ErrorNote, RecognitionStatus
from core.domain.task import Task, TaskStatus
from core.errors import NotFound, TaskIsFinal, TaskNotFinal
from core.store.attempts import Finished
from core.store.changes import CancelKind, Cancelled, cancel_task, delete_task, retry_task
from core.store.delivery_log import DeliveryFilter, list_deliveries
from core.store.tables import delivery_attempt
from tests.support.store import CAPTURED, Store, recognised

_FAULT = ErrorNote(code="image_fetch_failed", message="The connection failed.")
_FINAL = [status for status in TaskStatus if status.is_final]


async def _cancel(store: Store, of_task: Task, **owner: str) -> Cancelled:
    return await cancel_task(store.db, store.ids, store.promises, of_task.id, **owner)


async def _failed(store: Store) -> Task:
    """A task of which one picture was recognised and the other failed."""
    begun = await store.running(2, callback_events=("task.failed",))
    seen = recognised(begun.recognitions[0])
    ended = await store.record(begun, seen, end=Finished(status=TaskStatus.FAILED, error=_FAULT))
    return ended.recorded.task


async def test_a_waiting_task_is_cancelled_at_once(store: Store) -> None:
    waiting = await store.pending(2, dedup_key="gate", dedup_mode="keep_first")
    found = await _cancel(store, waiting, system_code="farm")

    stored = await store.reload(waiting)
    promised = tuple(await list_deliveries(store.db, DeliveryFilter(task_id=waiting.id), page_size=5))
    assert found == Cancelled(
        kind=CancelKind.WAITING,
        task=replace(stored, updated_at=found.task.updated_at),
        deliveries=promised,
    )
    assert stored.status is TaskStatus.CANCELLED
    assert stored.error is not None
    assert stored.error.code == "cancelled_by_caller"
    assert {picture.status for picture in stored.recognitions} == {"failed"}
    assert (await store.task_row(waiting)).dedup_slot is None
    assert [sent.event for sent in promised] == ["task.cancelled"]


async def test_a_running_task_is_asked_to_stop(store: Store) -> None:
    begun = await store.running()
    found = await _cancel(store, begun)
    assert (found.kind, found.task.status) == (CancelKind.RUNNING, TaskStatus.IN_PROGRESS)
    row = await store.task_row(begun)
    assert (row.status, row.cancel_requested) == ("in_progress", True)
    assert await store.events(begun) == ["task.started"]


async def test_asking_twice_is_noted_once(store: Store) -> None:
    begun = await store.running()
    await _cancel(store, begun)
    assert (await _cancel(store, begun)).kind is CancelKind.RUNNING
    why = [line.why for line in await store.history(begun)]
    assert why == ["submitted", "attempt started", "cancel requested"]


@pytest.mark.parametrize("status", _FINAL)
async def test_an_ended_task_is_not_cancelled(store: Store, status: TaskStatus) -> None:
    done = await store.pending()
    await store.set_task(done, status=status)
    assert (await _cancel(store, done)).kind is CancelKind.FINAL
    assert (await store.task_row(done)).status == status


async def test_a_task_of_another_system_is_as_good_as_absent(store: Store) -> None:
    failed = await _failed(store)
    for change in (
        cancel_task(store.db, store.ids, store.promises, failed.id, system_code="zoo"),
        retry_task(store.db, store.ids, failed.id, system_code="zoo"),
        delete_task(store.db, failed.id, system_code="zoo"),
        cancel_task(store.db, store.ids, store.promises, 1),
        retry_task(store.db, store.ids, 1),
        delete_task(store.db, 1),
    ):
        with pytest.raises(NotFound):
            await change
    assert (await store.reload(failed)).status is TaskStatus.FAILED


async def test_a_cancellation_and_a_start_at_once_have_one_winner(store: Store, other_store: Store) -> None:
    worker_id = await other_store.open_worker()
    for number in range(10):
        waiting = await store.pending()
        found, starts = await asyncio.gather(
            _cancel(store, waiting),
            other_store.start(waiting, worker_id=worker_id, token=f"claim-{number}"),
        )
        row = await store.task_row(waiting)
        if found.kind is CancelKind.WAITING:
            assert (row.status, starts.tasks) == ("cancelled", ())
        else:
            assert (found.kind, row.status) == (CancelKind.RUNNING, "in_progress")
            assert (row.cancel_requested, len(starts.tasks)) == (True, 1)


async def test_a_retry_keeps_what_was_recognised_and_opens_the_rest(store: Store) -> None:
    failed = await _failed(store)
    await store.set_task(failed, failures=2, crashes=1, cancel_requested=True, dedup_key="gate")

    again = await retry_task(store.db, store.ids, failed.id, system_code="farm")

    assert again == await store.reload(failed)
    assert (again.status, again.series, again.attempt) == (TaskStatus.PENDING, 2, 1)
    assert (again.failures, again.crashes, again.cancel_requested) == (0, 0, False)
    assert (again.error, again.started_at, again.completed_at, again.next_attempt_at) == (None,) * 4
    assert again.updated_at is not None
    assert again.queue_expires_at == again.updated_at + timedelta(seconds=again.queue_ttl_seconds)
    assert (await store.task_row(failed)).dedup_slot is None
    kept, opened = again.recognitions
    assert kept == failed.recognitions[0]
    assert (opened.status, opened.error, opened.completed_at) == (RecognitionStatus.PENDING, None, None)
    last = (await store.history(failed))[-1]
    assert (last.from_status, last.to_status, last.why) == ("failed", "pending", "retried by its owner")


async def test_a_retried_task_can_end_and_be_called_back_once_more(store: Store) -> None:
    failed = await _failed(store)
    again = await retry_task(store.db, store.ids, failed.id)
    (begun,) = (await store.start(again)).tasks
    assert (begun.attempt, begun.series) == (2, 2)
    await store.record(begun, end=Finished(status=TaskStatus.FAILED, error=_FAULT))
    assert await store.events(failed) == ["task.failed", "task.failed"]


@pytest.mark.parametrize("status", [TaskStatus.CANCELLED, TaskStatus.EXPIRED, TaskStatus.FAILED])
async def test_what_did_not_succeed_can_be_retried(store: Store, status: TaskStatus) -> None:
    done = await store.pending()
    await store.set_task(done, status=status)
    assert (await retry_task(store.db, store.ids, done.id)).status is TaskStatus.PENDING


async def test_a_completed_task_is_not_retried(store: Store) -> None:
    done = await store.pending()
    await store.set_task(done, status="completed")
    with pytest.raises(TaskIsFinal):
        await retry_task(store.db, store.ids, done.id)
    assert (await store.task_row(done)).series == 1


@pytest.mark.parametrize("status", [TaskStatus.PENDING, TaskStatus.IN_PROGRESS])
async def test_what_has_not_ended_is_neither_retried_nor_deleted(store: Store, status: TaskStatus) -> None:
    waiting = await store.pending()
    await store.set_task(waiting, status=status)
    with pytest.raises(TaskNotFinal):
        await retry_task(store.db, store.ids, waiting.id)
    with pytest.raises(TaskNotFinal):
        await delete_task(store.db, waiting.id)
    assert (await store.task_row(waiting)).status == status


async def test_of_two_retries_at_once_one_wins(store: Store, other_store: Store) -> None:
    failed = await _failed(store)
    found = await asyncio.gather(
        *(retry_task(of.db, of.ids, failed.id) for of in (store, other_store)), return_exceptions=True
    )
    assert sorted(type(one).__name__ for one in found) == ["Task", "TaskNotFinal"]
    assert (await store.task_row(failed)).series == 2


async def test_a_deleted_task_leaves_nothing(store: Store) -> None:
    begun = await store.running(2)
    seen = recognised(begun.recognitions[0], media_key="x/y.jpg")
    written = await store.record(begun, seen, end=Finished(status=TaskStatus.FAILED, error=_FAULT))
    log = {"id": 1, "delivery_id": written.deliveries[0].id, "attempt": 1, "at": CAPTURED, "duration_ms": 1.5}
    await store.run(insert(delivery_attempt).values(log))
    kept = await store.pending()

    assert await delete_task(store.db, begun.id, system_code="farm") == ["x/y.jpg"]

    assert await store.count("delivery_attempt") == await store.count("delivery") == 0
    assert (
        await store.count("task") == await store.count("recognition") == await store.count("task_event") == 1
    )
    assert (await store.reload(kept)).status is TaskStatus.PENDING


async def test_a_retry_and_a_deletion_at_once_leave_all_or_nothing(store: Store, other_store: Store) -> None:
    for _ in range(8):
        failed = await _failed(store)
        found = await asyncio.gather(
            retry_task(store.db, store.ids, failed.id),
            delete_task(other_store.db, failed.id),
            return_exceptions=True,
        )
        if isinstance(found[0], Task):
            assert isinstance(found[1], TaskNotFinal)
            assert len((await store.reload(failed)).recognitions) == 2
            await store.set_task(failed, status="failed")
            await delete_task(store.db, failed.id)
        else:
            assert isinstance(found[0], (NotFound, TaskNotFinal))
        assert (
            await store.count("task")
            == await store.count("recognition")
            == await store.count("delivery")
            == 0
        )
