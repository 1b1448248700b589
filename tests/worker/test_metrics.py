"""Every number of repair, recovery and retention is driven once and read as Prometheus reads it."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import httpx
import pytest
from sqlalchemy import update

from core.domain.delivery import Delivery
from core.domain.routing import member_of_delivery, member_of_task
from core.domain.task import Task, TaskStatus
from core.media import Media, MediaStoreSettings
from core.queue.lease import Entry
from core.store.attempts import Finished
from core.store.deliveries import start_deliveries
from core.store.tables import worker
from core.store.types import server_now
from tests.support.duties import pruner, reaper, reconciler, store_of
from tests.support.metrics import Scraped, read_scrape
from tests.support.private_server import free_port
from tests.support.store import recognised
from tests.support.valkey import PrivateValkey
from tests.support.worker_bench import WorkerBench, running_worker, until
from worker.health import Health, Pulse, serve_health

HOUR_MS, SHORT_MS = 3_600_000, 20
ALLOWED_LABELS = {"queue", "place", "status", "code", "step", "kind", "loss", "outcome", "le"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Scraper:
    """Reads a worker's /metrics, and how much was counted since the last time."""

    url: str
    before: Scraped

    async def read(self) -> Scraped:
        """Scrape once."""
        async with httpx.AsyncClient(trust_env=False) as client:
            return read_scrape((await client.get(self.url)).text)

    async def grown(self) -> Scraped:
        """What has been counted meanwhile."""
        now = await self.read()
        ours = [name for name in now if name.startswith("muster_") and "_total" in name]
        counted = {name: now[name] - self.before.get(name, 0.0) for name in ours}
        return {name: by for name, by in counted.items() if by}


@asynccontextmanager
async def scraping(bench: WorkerBench) -> AsyncIterator[Scraper]:
    """Serve what a worker serves, and scrape it."""
    port = free_port()
    health = Health(bench.base.db, Pulse(), bench.base.measures().take)
    async with serve_health(health, host="127.0.0.1", port=port):
        first = Scraper(url=f"http://127.0.0.1:{port}/metrics", before={})
        yield replace(first, before=await first.read())


async def submitted(bench: WorkerBench, count: int) -> list[Task]:
    return [await bench.submit(bench.pictures.url("/picture.jpg")) for _ in range(count)]


async def test_repairs_are_counted_by_queue_and_kind(bench: WorkerBench, valkey: PrivateValkey) -> None:
    plan, stored, mine = bench.base.plan, store_of(bench), reconciler(bench)
    await mine.beat()
    queue = plan.queues.recognition
    ghost, _stuck = await submitted(bench, 2)
    await queue.claim("gone", HOUR_MS, 2)
    await queue.enqueue([Entry(member=replace(member_of_task(ghost), id=42), message="{}")])
    missing = await bench.store(bench.pictures.url("/picture.jpg"))
    late = await bench.store(bench.pictures.url("/picture.jpg"))
    await queue.enqueue([Entry(member=member_of_task(late), delay_ms=HOUR_MS)])
    await stored.set_task(ghost, status="failed", attempt=1)
    async with scraping(bench) as scraper:
        await mine.sweep()
        kinds = {"missing": 1, "late": 1, "stuck": 1, "ghost": 2, "message": 1}
        name = 'muster_entries_repaired_total{{kind="{}",queue="recognition"}}'
        assert await scraper.grown() == {name.format(kind): by for kind, by in kinds.items()}
        valkey.flush()
        await mine.beat()
        grown = await scraper.grown()
        assert grown[name.format("rebuilt")] == 3
        assert grown['muster_rebuilds_total{loss="emptied"}'] == 1
        assert (await scraper.read())["muster_rebuild_seconds_count"] >= 1
    assert missing.attempt == 0


async def sending(bench: WorkerBench, worker_id: str, token: str) -> Delivery:
    """A delivery that a worker has in hand; its lease is over soon."""
    stored = store_of(bench)
    begun = (await stored.start(*await submitted(bench, 1))).tasks[0]
    end = Finished(status=TaskStatus.COMPLETED)
    written = await stored.record(begun, recognised(begun.recognitions[0]), end=end)
    await bench.base.plan.enqueue_deliveries(written.deliveries)
    (lease,) = (await bench.base.plan.queues.delivery.claim(token, SHORT_MS, 1)).leases
    (sent,) = await start_deliveries(
        bench.base.db, worker_id=worker_id, token=token, members=[lease.member], timeout_seconds=60
    )
    assert member_of_delivery(sent).id == lease.member.id
    return sent


@pytest.mark.parametrize(
    ("max_crashes", "task_status", "delivery_status"), [(3, "pending", "pending"), (1, "failed", "dead")]
)
async def test_what_dead_workers_held_is_counted(
    bench: WorkerBench, max_crashes: int, task_status: str, delivery_status: str
) -> None:
    stored, queue = store_of(bench), bench.base.plan.queues.recognition
    lost = await stored.open_worker(lease_seconds=-1)
    await sending(bench, lost, "lost")
    held, _ = await submitted(bench, 2)
    await queue.claim("lost", SHORT_MS, 9)
    await stored.start(held, worker_id=lost)
    async with scraping(bench) as scraper:
        mine = reaper(bench, max_crashes=max_crashes)

        async def grown() -> Scraped:
            await mine.step()
            return await scraper.grown()

        expired = 'muster_leases_expired_total{queue="recognition"}'
        found = await until(grown, lambda grown: grown.get(expired, 0) >= 2)
        assert found["muster_workers_lost_total"] == 1
        assert found[f'muster_tasks_taken_back_total{{status="{task_status}"}}'] == 1
        assert found[f'muster_deliveries_taken_back_total{{status="{delivery_status}"}}'] == 1
        # Claimed and never started: the other task's entry is given on.
        assert found['muster_leases_reassigned_total{queue="recognition"}'] >= 1
        is_over = task_status == "failed"
        ended = found.get('muster_tasks_ended_total{code="worker_lost",status="failed"}', 0)
        assert (ended, found.get('muster_deliveries_total{outcome="dead"}', 0)) == (is_over, is_over)


async def test_ages_and_depths_are_read_when_somebody_scrapes(bench: WorkerBench) -> None:
    stored, queue = store_of(bench), bench.base.plan.queues.recognition
    (waiting,) = await submitted(bench, 1)
    await stored.set_task(waiting, updated_at=server_now(-90.0))
    await queue.enqueue([Entry(member=replace(member_of_task(waiting), attempt=9), delay_ms=1)])
    async with scraping(bench) as scraper:
        overdue = 'muster_queue_entries{place="overdue",queue="recognition"}'
        told = await until(scraper.read, lambda told: told[overdue] == 1)
        assert told['muster_queue_entries{place="ready",queue="recognition"}'] == 1
        assert 90 <= told['muster_ready_lag_seconds{queue="recognition"}'] < 120
        assert told['muster_ready_lag_seconds{queue="delivery"}'] == 0
        assert 0 <= told["muster_oldest_waiting_seconds"] < 60


async def test_a_whole_worker_counts_ends_callbacks_and_expiries(bench: WorkerBench) -> None:
    async with scraping(bench) as scraper:
        await bench.base.plan.queues.recognition.pause()
        late = await bench.submit(bench.pictures.url("/late.jpg"), queue_ttl_seconds=1)
        async with running_worker(bench.settings):
            await bench.ended(late)
            await bench.base.plan.queues.recognition.resume()
            await bench.delivery_ended(await bench.ended((await submitted(bench, 1))[0]))
            delivered = 'muster_deliveries_total{outcome="delivered"}'
            found = await until(scraper.grown, lambda grown: grown.get(delivered) == 2)
        assert found['muster_tasks_ended_total{code="queue_ttl_exceeded",status="expired"}'] == 1
        assert found['muster_tasks_ended_total{code="",status="completed"}'] == 1


async def test_what_is_erased_is_counted_by_kind(bench: WorkerBench, tmp_path: Path) -> None:
    media, stored = Media(MediaStoreSettings(folder=tmp_path / "kept")), store_of(bench)
    gone = await stored.open_worker()
    week_ago = server_now(-8 * 86_400.0)
    await stored.run(update(worker).where(worker.c.id == gone).values(closed_at=week_ago))
    for orphan in range(1, 200):
        await media.put_annotated(orphan, orphan, b"jpeg")
    async with scraping(bench) as scraper:
        mine = pruner(bench, media)
        pictures = 'muster_pruned_total{kind="picture"}'

        async def grown() -> Scraped:
            await mine.step()
            return await scraper.grown()

        found = await until(grown, lambda grown: grown.get(pictures, 0) > 0)
        assert found['muster_pruned_total{kind="worker"}'] == 1


async def test_names_are_as_prometheus_expects_and_no_label_is_of_a_caller(bench: WorkerBench) -> None:
    await submitted(bench, 1)
    async with scraping(bench) as scraper:
        ours = [name for name in await scraper.read() if name.startswith("muster_")]
    labels = {label for name in ours for label in re.findall(r'(\w+)="', name)}
    assert labels <= ALLOWED_LABELS
    units = ("_total", "_seconds", "_count", "_sum", "_bucket", "_created", "_entries", "_pending")
    assert [name for name in ours if not name.partition("{")[0].endswith(units)] == []
