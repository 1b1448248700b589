"""A worker's duties by themselves, without a worker: reaper, reconciler, pruner."""

from __future__ import annotations

from core.domain.task import TaskStatus
from core.media import Media
from tests.support.store import Store
from tests.support.worker_bench import WorkerBench
from worker.identity import Identity
from worker.loops.pruner import Pruner, PrunerSettings
from worker.loops.reaper import Reaper, ReaperSettings
from worker.loops.reconciler import Reconciler

LEASE_SECONDS = 15.0


class _Clock:
    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


def store_of(bench: WorkerBench) -> Store:
    """Give the database of an installation."""
    return Store(db=bench.base.db, ids=bench.base.ids, promises=bench.base.promises)


def identity(*, steady: bool) -> Identity:
    """Give a worker whose heart has beaten for a whole lease, or only once."""
    clock = _Clock()
    mine = Identity(models=("picture",), slots=1, lease_seconds=LEASE_SECONDS, clock=clock)
    for _ in range(4 if steady else 1):
        mine.beat()
        clock.seconds += LEASE_SECONDS / 3
    return mine


def reaper(bench: WorkerBench, *, steady: bool = True, max_crashes: int = 3) -> Reaper:
    """Give a reaper with the same budget for tasks and deliveries."""
    base = bench.base
    budgets = ReaperSettings(max_task_crashes=max_crashes, max_delivery_crashes=max_crashes)
    return Reaper(base.db, base.ids, base.promises, base.plan, identity(steady=steady), budgets)


def reconciler(bench: WorkerBench) -> Reconciler:
    """Give a reconciler that has seen nothing yet."""
    base = bench.base
    return Reconciler(base.db, base.ids, base.promises, base.plan)


def pruner(bench: WorkerBench, media: Media, **days: float) -> Pruner:
    """Give a pruner that keeps tasks so long by status, and for 90 days where none is given."""
    kept = {status: days.get(status.value, 90.0) for status in TaskStatus if status.is_final}
    settings = PrunerSettings(task_days=kept, worker_days=7, upload_ttl_seconds=60)
    return Pruner(bench.base.db, media, settings)
