"""A claim that leads to no attempt is let go of, whatever broke it off."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress

from sqlalchemy.ext.asyncio import AsyncConnection

from core.clock import ServerClock
from core.domain.delivery import EventType
from core.domain.routing import QueueName
from core.domain.task import TaskStatus
from core.foundation import net_settings
from core.net import GuardedClient
from core.store.recorder import Recorder
from core.store.starts import Starter
from core.store.workers import register_worker
from tests.support.valkey import PrivateValkey
from tests.support.worker_bench import WorkerBench, until
from worker.afterwards import Afterwards
from worker.attempt import Carriers, Holdings
from worker.compute import Compute, ComputeSettings
from worker.execution import Execution
from worker.fetch import PictureSource
from worker.handover import Handover
from worker.identity import Identity
from worker.loops.extender import Extender
from worker.loops.leaser import Leaser
from worker.pictures import PictureSettings, PictureWork
from worker.slots import Slots

_PICTURES = PictureSettings(recognise_timeout_seconds=10.0, annotate=False, fetches_at_once=1)


@asynccontextmanager
async def open_leaser(
    bench: WorkerBench, group: asyncio.TaskGroup
) -> AsyncIterator[tuple[Leaser, Holdings, Extender]]:
    """Give the claiming half of a worker, registered, with its heartbeat."""
    base, holdings = bench.base, Holdings()
    identity = Identity(models=("picture",), slots=1, lease_seconds=15.0)
    async with AsyncExitStack() as stack:
        compute = await stack.enter_async_context(Compute(ComputeSettings(children=1), base.default_models()))
        client = await stack.enter_async_context(GuardedClient(net_settings(bench.settings)))
        recorder = await stack.enter_async_context(Recorder(base.db, base.ids, base.promises))
        source = PictureSource(client, base.media)
        work = PictureWork(source, compute, base.media, base.catalogue, _PICTURES)
        afterwards = await stack.enter_async_context(Afterwards(base.plan, base.events))
        execution = Execution(work, Handover(recorder, afterwards), max_failures=3)
        await register_worker(base.db, identity.row(), lease_seconds=identity.lease_seconds)
        identity.beat()
        starter = Starter(base.db, base.ids, base.promises)
        leaser = Leaser(
            base.plan, starter, execution, holdings, identity, Slots(1), Carriers(group), base.events
        )
        yield leaser, holdings, Extender(base.db, base.plan, recorder, holdings, identity, ServerClock())


async def test_a_start_that_breaks_off_after_its_commit_goes_back_at_no_cost(
    bench: WorkerBench, valkey: PrivateValkey
) -> None:
    claimed, committed = asyncio.Event(), asyncio.Event()

    async def hold_the_writer(_connection: AsyncConnection) -> None:
        claimed.set()
        await committed.wait()

    events = (EventType.STARTED, EventType.COMPLETED)
    task = await bench.submit(bench.pictures.url("/a.jpg"), callback_events=events)
    async with asyncio.TaskGroup() as group, open_leaser(bench, group) as (leaser, holdings, extender):
        holder = group.create_task(bench.base.db.write(hold_the_writer))
        await claimed.wait()
        step = group.create_task(leaser.step())
        await until(lambda: bench.stats(QueueName.RECOGNITION), lambda stats: stats.leased == 1)
        valkey.freeze()
        try:
            committed.set()
            await holder
            await bench.running(task)
            step.cancel()
            with suppress(asyncio.CancelledError):
                await step
        finally:
            valkey.thaw()
        assert (holdings.token_of(task.id), len(holdings), leaser.slots.free) == (None, 0, 1)
        await extender.step()
    after = await bench.reload(task)
    assert (after.status, after.attempt, after.failures, after.crashes) == (TaskStatus.PENDING, 1, 0, 0)
