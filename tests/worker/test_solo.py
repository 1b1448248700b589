"""Tasks that lose their workers: contained, alone, and without harm to their neighbours."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path
from time import monotonic

from core.domain.routing import QueueName
from core.domain.task import Task, TaskStatus
from core.queue.locks import NamedLock
from core.store.upkeep import take_back_lost
from tests.support.behaviours import reply
from tests.support.poison import KILLS_ITS_WORKER
from tests.support.store import Store
from tests.support.valkey import PrivateValkey
from tests.support.worker_bench import (
    PICTURE,
    WorkerBench,
    gated,
    in_turn,
    open_bench,
    running_worker,
    until,
    worker_ids,
)
from tests.support.worker_process import worker_process

LEASE_SECONDS = 2.0
NEIGHBOURS = 4
POISON_SECONDS = 60.0


async def test_a_task_that_kills_its_workers_ends_and_takes_no_neighbour_with_it(
    sqlite_url: str, valkey: PrivateValkey, tmp_path: Path
) -> None:
    changes = {
        "queue": {"lease_seconds": LEASE_SECONDS},
        "recognise": {"children": 1, "recognisers": (KILLS_ITS_WORKER,)},
    }
    async with open_bench(sqlite_url, valkey, tmp_path, changes) as bench, AsyncExitStack() as stack:
        workers = await asyncio.gather(
            *(stack.enter_async_context(worker_process(bench.settings)) for _ in range(4))
        )
        gate = asyncio.Event()
        behaviour = in_turn(*[gated(gate, reply(200, PICTURE))] * NEIGHBOURS, reply(200, PICTURE))
        beside = [
            await bench.submit(bench.pictures.serve("/neighbour.jpg", behaviour)) for _ in range(NEIGHBOURS)
        ]
        await bench.pictures.wait_for_requests(NEIGHBOURS)
        poison = await bench.submit(bench.pictures.url("/poison.jpg"), models=("kills-its-worker",))
        await bench.reached(poison, lambda task: task.crashes >= 1)
        gate.set()
        task = await bench.ended(poison, limit_seconds=POISON_SECONDS)
        assert (task.status, task.attempt, task.failures, task.crashes) == ("failed", 3, 0, 3)
        assert task.error is not None
        assert task.error.code == "worker_lost"
        for neighbour in beside:
            after = await bench.ended(neighbour)
            assert (after.status, after.failures) == (TaskStatus.COMPLETED, 0)
            assert after.crashes <= 1
        assert (await bench.delivery_ended(poison))[0].status == "delivered"
        await until(lambda: worker_ids(bench), lambda ids: len(ids) == 1)
        assert sum(worker.children != [] for worker in workers) == 1


async def crashed(bench: WorkerBench, path: str) -> Task:
    """Store a task that has lost a worker once, and queue it where it belongs."""
    store = Store(db=bench.base.db, ids=bench.base.ids, promises=bench.base.promises)
    stored = await bench.store(bench.pictures.url(path))
    await store.start(stored)
    await store.lose_worker(stored)
    await take_back_lost(store.db, store.ids, store.promises, max_crashes=3)
    lost = await bench.reload(stored)
    assert (lost.status, lost.crashes) == ("pending", 1)
    await bench.base.plan.enqueue_tasks([lost])
    return lost


async def test_a_worker_runs_a_solo_task_alone_and_goes_on(bench: WorkerBench) -> None:
    async with running_worker(bench.settings):
        gate, alone = asyncio.Event(), asyncio.Event()
        bench.pictures.serve("/alone.jpg", gated(alone, reply(200, PICTURE)))
        held = await bench.submit(bench.pictures.serve("/held.jpg", gated(gate, reply(200, PICTURE))))
        await bench.running(held)
        solo = await crashed(bench, "/alone.jpg")
        gate.set()
        await bench.running(solo)
        assert (await bench.reload(held)).is_final
        later = await bench.submit(bench.pictures.url("/later.jpg"))
        assert (await bench.stats(QueueName.RECOGNITION)).ready == 1
        alone.set()
        first, second = [await bench.ended(one) for one in (solo, later)]
        assert (first.status, second.status) == ("completed", "completed")
        assert first.completed_at is not None
        assert second.started_at is not None
        assert second.started_at >= first.completed_at


async def test_between_two_solo_tasks_the_others_have_their_turn(bench: WorkerBench) -> None:
    gate = asyncio.Event()
    bench.pictures.serve("/turn.jpg", gated(gate, reply(200, PICTURE)))
    solos = [await crashed(bench, f"/solo-{number}.jpg") for number in range(2)]
    async with running_worker(bench.settings):
        await bench.ended(solos[0])
        common = [await bench.submit(bench.pictures.url("/turn.jpg")) for _ in range(3)]
        gate.set()
        begun = monotonic()
        for one in (*common, solos[1]):
            assert (await bench.ended(one)).status is TaskStatus.COMPLETED
        assert monotonic() - begun < 4


async def test_a_paused_solo_queue_holds_up_nobody(bench: WorkerBench) -> None:
    await bench.base.plan.queues.solo.pause()
    held = await crashed(bench, "/paused.jpg")
    async with running_worker(bench.settings):
        for _ in range(3):
            task = await bench.submit(bench.pictures.url("/not-paused.jpg"))
            assert (await bench.ended(task, limit_seconds=3)).status is TaskStatus.COMPLETED
        assert (await bench.reload(held)).status is TaskStatus.PENDING
        await bench.base.plan.queues.solo.resume()
        assert (await bench.ended(held)).status is TaskStatus.COMPLETED


async def test_a_lock_that_another_holds_is_waited_for(bench: WorkerBench) -> None:
    lock = NamedLock(bench.base.connections, "solo", ttl_seconds=2)
    assert await lock.acquire()
    solo = await crashed(bench, "/locked.jpg")
    async with running_worker(bench.settings):
        task = await bench.submit(bench.pictures.url("/not-locked.jpg"))
        assert (await bench.ended(task)).status is TaskStatus.COMPLETED
        assert (await bench.reload(solo)).attempt == 1
        assert (await bench.ended(solo)).status is TaskStatus.COMPLETED


async def test_a_drained_worker_begins_no_solo_task(bench: WorkerBench) -> None:
    gate = asyncio.Event()
    held = bench.pictures.serve("/drained.jpg", gated(gate, reply(200, PICTURE)))
    async with running_worker(bench.settings) as runner:
        task = await bench.submit(held)
        await bench.running(task)
        solo = await crashed(bench, "/not-begun.jpg")
        await until(lambda: bench.base.inspector(QueueName.SOLO).stats(), lambda stats: stats.ready == 1)
        runner.stop()
        gate.set()
        assert (await bench.ended(task)).status is TaskStatus.COMPLETED
    after = await bench.reload(solo)
    assert (after.status, after.attempt) == ("pending", 1)
