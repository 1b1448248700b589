"""A paused queue: nothing is claimed, whatever becomes of Redis, until it is resumed."""

from __future__ import annotations

from core.domain.routing import QueueName
from core.domain.task import TaskStatus
from core.store.queue_states import paused_queues
from tests.support.valkey import PrivateValkey
from tests.support.worker_bench import WorkerBench, running_worker, until


async def is_paused(bench: WorkerBench) -> bool:
    return (await bench.stats(QueueName.RECOGNITION)).paused


async def test_a_paused_queue_starts_nothing_though_redis_was_emptied(
    bench: WorkerBench, valkey: PrivateValkey
) -> None:
    await bench.base.plan.set_paused(QueueName.RECOGNITION, paused=True)
    valkey.flush()
    task = await bench.store(bench.pictures.url("/paused.jpg"))
    async with running_worker(bench.settings):
        stats = await until(
            lambda: bench.stats(QueueName.RECOGNITION), lambda stats: stats.epoch and stats.waiting == 1
        )
        assert stats.paused
        cancelled = await bench.submit(bench.pictures.url("/paused.jpg"))
        await bench.cancel(cancelled)
        await bench.delivery_ended(cancelled)  # other queues go on
        assert (await bench.reload(task)).attempt == 0

        await bench.base.plan.set_paused(QueueName.RECOGNITION, paused=False)
        assert (await bench.ended(task)).status is TaskStatus.COMPLETED


async def test_a_pause_that_redis_missed_follows_with_the_limits(
    bench: WorkerBench, valkey: PrivateValkey
) -> None:
    valkey.kill()
    try:
        await bench.base.plan.set_paused(QueueName.RECOGNITION, paused=True)
    finally:
        valkey.start()
    assert await paused_queues(bench.base.db) == {"recognition"}
    assert not await is_paused(bench)

    await bench.base.plan.restore_limits()
    assert await is_paused(bench)

    await bench.base.plan.set_paused(QueueName.RECOGNITION, paused=False)
    assert not await is_paused(bench)
    await bench.base.plan.restore_limits()
    assert not await is_paused(bench)
