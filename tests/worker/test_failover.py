"""Another Redis in the place of the one that was: what it does not know is put back with the next beat."""

from __future__ import annotations

from pathlib import Path

from core import metrics
from core.domain.routing import QueueName
from core.queue.lease import Place
from tests.support.duties import reconciler
from tests.support.metrics import counted
from tests.support.valkey import PrivateValkey
from tests.support.worker_bench import WorkerBench, open_bench


async def waiting(bench: WorkerBench) -> int:
    return (await bench.stats(QueueName.RECOGNITION)).waiting


async def test_a_failover_to_a_replica_that_lags_behind_is_noticed_with_the_next_beat(
    sqlite_url: str, tmp_path: Path
) -> None:
    with PrivateValkey(on_port=True) as first, PrivateValkey(on_port=True, replica_of=first) as stale:
        async with open_bench(sqlite_url, first, tmp_path) as bench:
            mine = reconciler(bench)
            done, waiting_still = [await bench.submit(bench.pictures.url(f"/{n}.jpg")) for n in (1, 2)]
            await mine.beat()
            with first.client() as client:
                assert client.wait(1, 5000) == 1
            stale.detach()
            # What the replica never hears of: one has ended, another came, and many beats.
            await bench.cancel(done)
            await bench.base.plan.withdraw([done])
            later = await bench.submit(bench.pictures.url("/3.jpg"))
            for _ in range(3):
                await mine.beat()
            stale.take_place_of(first)

            rebuilds = counted(metrics.REBUILDS.labels("moved"))
            await mine.beat()
            await mine.scan()  # compares what the replica still has

            queue = bench.base.plan.queues.recognition
            found = {member.id async for page in queue.members(Place.READY) for member in page}
            assert found == {waiting_still.id, later.id}
            await reconciler(bench).beat()
            await mine.beat()
            assert counted(metrics.REBUILDS.labels("moved")) == rebuilds + 1


async def test_a_worker_that_starts_after_a_failover_notices_it_too(sqlite_url: str, tmp_path: Path) -> None:
    with PrivateValkey(durable=True) as own:
        async with open_bench(sqlite_url, own, tmp_path) as bench:
            await reconciler(bench).beat()
            task = await bench.store(bench.pictures.url("/missed.jpg"))
            own.restart()
            await reconciler(bench).beat()
            assert await waiting(bench) == 1
            assert (await bench.reload(task)).attempt == 0


async def test_an_empty_server_in_its_place_gets_everything_back_with_the_next_beat(
    sqlite_url: str, tmp_path: Path
) -> None:
    with PrivateValkey() as own:
        async with open_bench(sqlite_url, own, tmp_path) as bench:
            mine = reconciler(bench)
            await mine.beat()
            await bench.submit(bench.pictures.url("/kept.jpg"))
            own.restart()
            assert await waiting(bench) == 0
            await mine.beat()
            assert await waiting(bench) == 1
