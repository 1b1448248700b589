"""Sending callbacks with nothing else of a worker, and a receiver that nobody can connect to."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager, suppress

from core.domain.delivery import Delivery
from core.net import GuardedClient
from core.queue.breaker import Breaker
from core.store.changes import cancel_task
from core.store.tries import TryRecorder
from core.store.workers import register_worker
from tests.support.worker_bench import WorkerBench
from worker.afterwards import Afterwards
from worker.attempt import Carriers
from worker.callback import Caller
from worker.identity import Identity
from worker.loop import Loop
from worker.loops.deliverer import Deliverer, DelivererSettings
from worker.slots import Slots

_FILLERS = 4
_END_SECONDS = 5.0


@contextmanager
def black_hole() -> Iterator[int]:
    """Give a port whose connections are never made, as of a machine that is off."""
    with ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        port = int(listener.getsockname()[1])
        # Nobody accepts, so a few connections fill the queue and what comes later is dropped.
        for _ in range(_FILLERS):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            with suppress(BlockingIOError):
                filler.connect(("127.0.0.1", port))
        yield port


@asynccontextmanager
async def delivering(
    bench: WorkerBench, client: GuardedClient, *, slots: int = 32, schedule_seconds: tuple[float, ...] = ()
) -> AsyncIterator[Deliverer]:
    """Send what is in queue `delivery`, as a worker does; what is under way at the end is put back."""
    base = bench.base
    identity = Identity(models=("picture",), slots=slots, lease_seconds=60)
    await register_worker(base.db, identity.row(), lease_seconds=600)
    identity.beat()
    async with (
        TryRecorder(base.db) as recorder,
        Afterwards(base.plan, base.events) as afterwards,
        asyncio.TaskGroup() as group,
    ):
        carriers = Carriers(group)
        deliverer = Deliverer(
            base.db,
            base.ids,
            recorder,
            afterwards,
            base.plan,
            base.systems,
            Caller(client, schedule_seconds),
            Breaker(base.plan.queues.delivery, failures=1000, first_hold_seconds=30),
            identity,
            Slots(slots),
            carriers,
            DelivererSettings(timeout_seconds=60),
        )
        sending = group.create_task(Loop("deliverer", deliverer.step).run())
        try:
            yield deliverer
        finally:
            sending.cancel()
            await carriers.end(_END_SECONDS)


async def promise(bench: WorkerBench, url: str, count: int = 1) -> list[Delivery]:
    """Give deliveries to a url, not queued yet: those of tasks that were cancelled while they waited."""
    made: list[Delivery] = []
    for _ in range(count):
        waiting = await bench.store(bench.pictures.url("/never.jpg"), callback_url=url)
        met = await cancel_task(bench.base.db, bench.base.ids, bench.base.promises, waiting.id)
        made += met.deliveries
    return made
