"""What becomes of leases that ran out and of workers that fell silent; the rows decide."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest

from core.domain.delivery import DeliveryStatus
from core.domain.routing import QueueName, member_of_delivery, member_of_task
from core.domain.task import Task, TaskStatus
from core.queue.events import EventKind
from core.queue.lease import Claim, Entry
from core.store.attempts import Finished, PutBack
from core.store.deliveries import start_deliveries
from tests.support.duties import reaper, store_of
from tests.support.listening import heard_during
from tests.support.store import recognised
from tests.support.worker_bench import WorkerBench, until

SHORT_MS = 20


async def claimed(bench: WorkerBench, name: QueueName = QueueName.RECOGNITION) -> Claim:
    """Claim everything for a moment."""
    claim = await bench.base.plan.queues.of(name).claim("lost", SHORT_MS, 10)
    assert claim.leases
    return claim


async def reaped(
    bench: WorkerBench, step: Callable[[], Awaitable[None]], name: QueueName = QueueName.RECOGNITION
) -> None:
    """Reap until the leases that ran out were looked at."""
    before = (await bench.stats(name)).counters["reaped"]

    async def look() -> int:
        await step()
        return (await bench.stats(name)).counters["reaped"]

    await until(look, lambda count: count > before)


async def running(bench: WorkerBench, *, lease_seconds: float = 60.0) -> tuple[Task, str]:
    """Submit, claim for a moment and start a task, under a worker whose row lives so long."""
    stored = store_of(bench)
    task = await bench.submit(bench.pictures.url("/picture.jpg"))
    await claimed(bench)
    worker_id = await stored.open_worker(lease_seconds=lease_seconds)
    return (await stored.start(task, worker_id=worker_id)).tasks[0], worker_id


async def test_a_lease_that_ran_out_under_a_living_worker_is_only_held(bench: WorkerBench) -> None:
    task, _ = await running(bench)
    await reaped(bench, reaper(bench).step)
    after = await bench.reload(task)
    assert (after.status, after.attempt, after.crashes) == (TaskStatus.IN_PROGRESS, 1, 0)
    stats = await bench.stats(QueueName.RECOGNITION)
    assert (stats.leased, stats.expired, stats.ready) == (1, 0, 0)


async def test_what_was_claimed_and_never_started_is_released_at_no_cost(bench: WorkerBench) -> None:
    task = await bench.submit(bench.pictures.url("/picture.jpg"))
    await claimed(bench)
    await reaped(bench, reaper(bench).step)
    after = await bench.reload(task)
    assert (after.status, after.attempt, after.failures, after.crashes) == (TaskStatus.PENDING, 0, 0, 0)
    again = await claimed(bench)
    assert [lease.member for lease in again.leases] == [member_of_task(task)]


async def test_leases_of_what_has_ended_or_is_gone_are_let_go(bench: WorkerBench) -> None:
    task, _ = await running(bench)
    end = Finished(status=TaskStatus.COMPLETED)
    await store_of(bench).record(task, recognised(task.recognitions[0]), end=end)
    ghost = replace(member_of_task(task), id=42)
    await bench.base.plan.queues.recognition.enqueue([Entry(member=ghost)])
    await claimed(bench)

    async def step() -> None:
        await reaper(bench).step()

    async def left() -> int:
        await step()
        stats = await bench.stats(QueueName.RECOGNITION)
        return stats.leased + stats.waiting

    await until(left, lambda count: count == 0)


async def test_a_retry_that_was_never_settled_waits_for_the_rest_of_its_delay(bench: WorkerBench) -> None:
    task, _ = await running(bench)
    await store_of(bench).record(task, end=PutBack(delay_seconds=30, is_failure=True))
    await reaped(bench, reaper(bench).step)
    stats = await bench.stats(QueueName.RECOGNITION)
    assert (stats.delayed, stats.ready, stats.leased) == (1, 0, 0)
    (position,) = await bench.base.inspector(QueueName.RECOGNITION).positions(
        [replace(member_of_task(task), attempt=2)]
    )
    assert position.delayed


async def test_a_silent_worker_loses_its_tasks_to_the_solo_queue(bench: WorkerBench) -> None:
    task, _ = await running(bench, lease_seconds=-1)
    await reaper(bench).step()
    after = await bench.reload(task)
    assert (after.status, after.attempt, after.crashes) == (TaskStatus.PENDING, 1, 1)
    (lease,) = (await claimed(bench, QueueName.SOLO)).leases
    assert (lease.member.id, lease.member.attempt) == (task.id, 2)


async def test_a_reaper_that_was_not_steady_for_a_lease_declares_nobody_dead(bench: WorkerBench) -> None:
    task, _ = await running(bench, lease_seconds=-1)
    await reaper(bench, steady=False).step()
    assert (await bench.reload(task)).status is TaskStatus.IN_PROGRESS


async def test_a_task_that_lost_too_many_workers_fails_and_its_caller_is_told(bench: WorkerBench) -> None:
    task, _ = await running(bench, lease_seconds=-1)
    told = await heard_during(bench.base.events, reaper(bench, max_crashes=1).step)
    after = await bench.reload(task)
    assert (after.status, after.crashes) == (TaskStatus.FAILED, 1)
    assert after.error is not None
    assert after.error.code == "worker_lost"
    # At once: nobody waits for the next scan, neither the receiver nor who asked with ?wait.
    (sent,) = await bench.deliveries(task)
    assert sent.event == "task.failed"
    assert [lease.member for lease in (await claimed(bench, QueueName.DELIVERY)).leases] == [
        member_of_delivery(sent)
    ]
    assert (told.kind, told.id, told.status) == (EventKind.ENDED, task.id, "failed")


async def test_a_task_that_was_to_be_stopped_ends_with_its_worker(bench: WorkerBench) -> None:
    task, _ = await running(bench, lease_seconds=-1)
    await bench.cancel(task)
    told = await heard_during(bench.base.events, reaper(bench).step)
    assert (await bench.reload(task)).status is TaskStatus.CANCELLED
    assert (told.kind, told.id, told.status) == (EventKind.ENDED, task.id, "cancelled")
    assert (await bench.stats(QueueName.DELIVERY)).ready == 1


@pytest.mark.parametrize(("max_crashes", "status"), [(3, DeliveryStatus.PENDING), (1, DeliveryStatus.DEAD)])
async def test_a_delivery_of_a_lost_worker_is_sent_again_but_not_for_ever(
    bench: WorkerBench, max_crashes: int, status: DeliveryStatus
) -> None:
    task, _ = await running(bench)
    end = Finished(status=TaskStatus.COMPLETED)
    written = await store_of(bench).record(task, recognised(task.recognitions[0]), end=end)
    await bench.base.plan.enqueue_deliveries(written.deliveries)
    (lease,) = (await claimed(bench, QueueName.DELIVERY)).leases
    worker_id = await store_of(bench).open_worker(lease_seconds=-1)
    started = await start_deliveries(
        bench.base.db, worker_id=worker_id, token=lease.token, members=[lease.member], timeout_seconds=60
    )
    assert len(started) == 1
    mine = reaper(bench, max_crashes=max_crashes)
    await reaped(bench, mine.step, QueueName.DELIVERY)
    (sent,) = await bench.deliveries(task)
    assert (sent.status, sent.tries, sent.crashes) == (status, 0, 1)
    stats = await bench.stats(QueueName.DELIVERY)
    expected = 1 if status is DeliveryStatus.PENDING else 0
    assert (stats.ready, stats.leased) == (expected, 0)
    if expected:
        again = await claimed(bench, QueueName.DELIVERY)
        assert [found.member for found in again.leases] == [member_of_delivery(sent)]
