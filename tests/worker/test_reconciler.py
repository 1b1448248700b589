"""A plan that is lost, late or gone: the rows put it back, and no task is done twice."""

from __future__ import annotations

import asyncio
from pathlib import Path
from time import monotonic

from sqlalchemy import update
from structlog.testing import capture_logs

from core import metrics
from core.domain.routing import QueueName, member_of_task
from core.domain.task import TaskStatus
from core.queue.events import EventKind
from core.queue.lease import Entry
from core.store.tables import task
from core.store.types import server_now
from tests.support.duties import reconciler, store_of
from tests.support.listening import heard_during
from tests.support.metrics import counted
from tests.support.valkey import PrivateValkey
from tests.support.worker_bench import WorkerBench, open_bench, running_worker, until
from worker.loops.reconciler import Reconciler

RECOVERY_SECONDS = 5.0


async def waiting(bench: WorkerBench) -> int:
    return (await bench.stats(QueueName.RECOGNITION)).waiting


async def test_tasks_whose_plan_is_wiped_while_they_wait_and_run_are_all_done_once(
    bench: WorkerBench, valkey: PrivateValkey
) -> None:
    tasks = [await bench.submit(bench.pictures.url(f"/wiped-{number}.jpg")) for number in range(40)]
    valkey.flush()
    async with running_worker(bench.settings):
        await bench.ended(tasks[0])
        valkey.flush()
        for task in tasks:
            after = await bench.ended(task)
            assert (after.status, after.attempt, after.crashes) == (TaskStatus.COMPLETED, 1, 0)
            assert (await bench.delivery_ended(task))[0].status == "delivered"
        assert all(bench.fetches(f"/wiped-{number}.jpg") == 1 for number in range(40))
        assert (
            await until(lambda: bench.stats(QueueName.RECOGNITION), lambda stats: stats.epoch)
        ).waiting == 0


async def test_a_task_that_came_while_redis_was_dead_runs_soon_after_its_return(
    sqlite_url: str, tmp_path: Path
) -> None:
    with PrivateValkey(durable=True) as own:
        async with open_bench(sqlite_url, own, tmp_path) as bench, running_worker(bench.settings):
            before = await bench.submit(bench.pictures.url("/before.jpg"))
            await bench.delivery_ended(await bench.ended(before))
            own.kill()
            stored = await bench.store(bench.pictures.url("/meanwhile.jpg"))
            assert not await bench.base.plan.enqueue_tasks([stored])
            own.start()
            back_at = monotonic()
            claimed = await bench.submit(bench.pictures.url("/after.jpg"))
            await bench.running_or_ended(claimed)
            assert monotonic() - back_at < RECOVERY_SECONDS
            for task in (stored, claimed):
                assert (await bench.ended(task)).status is TaskStatus.COMPLETED


async def test_an_emptied_redis_gets_every_waiting_row_back_and_an_epoch(
    bench: WorkerBench, valkey: PrivateValkey
) -> None:
    for number in range(30):
        await bench.submit(bench.pictures.url(f"/back-{number}.jpg"))
    valkey.flush()
    mine = reconciler(bench)
    await mine.beat()
    stats = await bench.stats(QueueName.RECOGNITION)
    assert (stats.ready, bool(stats.epoch)) == (30, True)


async def test_a_beat_that_went_back_is_a_plan_that_was_rolled_back(
    bench: WorkerBench, valkey: PrivateValkey
) -> None:
    mine, queue = reconciler(bench), bench.base.plan.queues.recognition
    for _ in range(3):
        await mine.beat()
    epoch = (await bench.stats(QueueName.RECOGNITION)).epoch
    task = await bench.store(bench.pictures.url("/rolled-back.jpg"))
    with valkey.client() as client:
        client.hset(queue.keys.meta, "beat", 1)
    await mine.beat()
    stats = await bench.stats(QueueName.RECOGNITION)
    assert (stats.ready, stats.epoch != epoch, task.attempt) == (1, True, 0)


async def test_whoever_finds_another_at_the_rebuild_lets_it(bench: WorkerBench) -> None:
    await bench.store(bench.pictures.url("/another.jpg"))
    mine = reconciler(bench)
    lock = bench.base.plan.rebuild_lock()
    assert await lock.acquire()
    await mine.beat()
    assert await waiting(bench) == 0
    # Should the other one die, what is missing is found all the same.
    await mine.scan()
    assert await waiting(bench) == 1
    await lock.release()
    await mine.beat()
    assert (await bench.stats(QueueName.RECOGNITION)).epoch


async def test_a_row_that_is_not_in_the_queue_is_put_there_by_the_scan(bench: WorkerBench) -> None:
    mine = reconciler(bench)
    for _ in range(2):  # the first ones sweep
        await mine.scan()
    task = await bench.store(bench.pictures.url("/scanned.jpg"))

    async def scanned() -> int:
        await mine.scan()
        return await waiting(bench)

    assert await until(scanned, lambda found: found == 1) == 1
    assert (await bench.reload(task)).attempt == 0


async def test_messages_that_nobody_will_read_are_dropped_by_the_sweep(
    bench: WorkerBench, valkey: PrivateValkey
) -> None:
    task = await bench.submit(bench.pictures.url("/kept.jpg"))
    keys = bench.base.plan.queues.recognition.keys
    with valkey.client() as client:
        client.hset(keys.message, "42", "{}")
    await reconciler(bench).sweep()
    with valkey.client() as client:
        assert client.hkeys(keys.message) == [str(task.id)]


async def test_a_task_that_waited_too_long_expires_and_its_caller_is_told(bench: WorkerBench) -> None:
    await bench.base.plan.queues.recognition.pause()
    task = await bench.submit(bench.pictures.url("/expired.jpg"), queue_ttl_seconds=1)
    async with running_worker(bench.settings):
        after = await bench.ended(task)
        assert (after.status, after.attempt) == (TaskStatus.EXPIRED, 0)
        assert after.error is not None
        assert after.error.code == "queue_ttl_exceeded"
        await until(lambda: waiting(bench), lambda count: count == 0)
        sent, _ = await bench.delivery_ended(task)
    assert (sent.status, sent.event) == ("delivered", "task.expired")
    assert bench.fetches("/expired.jpg") == 0


async def test_who_waits_for_a_task_hears_at_once_that_it_has_expired(bench: WorkerBench) -> None:
    task = await bench.submit(bench.pictures.url("/late.jpg"), queue_ttl_seconds=1)

    async def expire() -> None:
        mine = reconciler(bench)

        async def left() -> int:
            await mine.expire()
            return await waiting(bench)

        await until(left, lambda count: count == 0)

    told = await heard_during(bench.base.events, expire)
    assert (told.kind, told.id, told.status) == (EventKind.ENDED, task.id, "expired")
    assert (await bench.stats(QueueName.DELIVERY)).ready == 1


async def test_a_flood_that_nobody_served_expires_in_one_step(bench: WorkerBench) -> None:
    url = bench.pictures.url("/flood.jpg")
    tasks = await asyncio.gather(*(bench.submit(url) for _ in range(450)))
    await store_of(bench).run(update(task).values(queue_expires_at=server_now(-1.0)))
    await reconciler(bench).expire()
    assert {(await bench.reload(one)).status for one in (tasks[0], tasks[-1])} == {TaskStatus.EXPIRED}
    assert await waiting(bench) == 0
    assert (await bench.stats(QueueName.DELIVERY)).ready == len(tasks)


async def test_a_stale_entry_leads_to_nothing(bench: WorkerBench) -> None:
    task = await bench.submit(bench.pictures.url("/stale.jpg"))
    async with running_worker(bench.settings):
        ended = await bench.ended(task)
        # As after a Redis that was rolled back: the entry of an attempt that was made.
        entry = Entry(member=member_of_task(task))
        assert await bench.base.plan.queues.recognition.enqueue([entry]) == [True]
        stats = await until(
            lambda: bench.stats(QueueName.RECOGNITION), lambda stats: stats.waiting + stats.leased == 0
        )
        assert stats.counters["acked"] == 2
    after = await bench.reload(task)
    assert (after.attempt, after.completed_at) == (1, ended.completed_at)
    assert bench.fetches("/stale.jpg") == 1


async def test_of_many_workers_one_rebuilds_and_one_sweeps(bench: WorkerBench, valkey: PrivateValkey) -> None:
    await bench.submit(bench.pictures.url("/once.jpg"))
    workers = [reconciler(bench) for _ in range(4)]
    for one in workers:
        await one.beat()
    valkey.flush()
    rebuilds = counted(metrics.REBUILDS.labels("emptied"))
    for _ in range(2):
        await asyncio.gather(*(one.beat() for one in workers))
    assert counted(metrics.REBUILDS.labels("emptied")) == rebuilds + 1
    with capture_logs() as lines:
        for one in workers:
            await one.scan()
        for one in workers:
            await one.scan()
    assert [line["event"] for line in lines].count("plan.swept") <= 1
    assert await waiting(bench) == 1


async def test_a_claim_without_an_epoch_hurries_the_beat_but_not_again_and_again(
    bench: WorkerBench, valkey: PrivateValkey
) -> None:
    base, seconds, hurried = bench.base, [0.0], [0]
    mine = Reconciler(base.db, base.ids, base.promises, base.plan, clock=lambda: seconds[0])
    mine.hurry = lambda: hurried.append(1)
    await mine.beat()
    queue = base.plan.queues.recognition
    whole = await queue.claim("mine", 1000, 0)
    valkey.flush()
    lost = await queue.claim("mine", 1000, 0)
    for at, claim, times in ((1.0, whole, 0), (1.0, lost, 1), (1.1, lost, 1), (2.0, lost, 2)):
        seconds[0] = at
        mine.see_claim(QueueName.RECOGNITION, claim)
        assert sum(hurried) == times
