"""Which duties a worker has at which intervals, beside its loops."""

from __future__ import annotations

from functools import partial

from core.domain.task import TaskStatus
from core.foundation import Foundation
from core.settings import Settings
from worker.health import Pulse
from worker.loops.leaser import Leaser
from worker.loops.pruner import Pruner, PrunerSettings
from worker.loops.reconciler import Reconciler
from worker.loops.scheduler import Scheduler

_PRUNE_SECONDS = 60.0
_LIMITS_SECONDS = 5.0


def timetable(base: Foundation, leaser: Leaser, pulse: Pulse) -> Scheduler:
    """Put the duties on a scheduler; a claim that misses the epoch hurries the heartbeat."""
    queue = base.settings.queue
    reconciler = Reconciler(base.db, base.ids, base.promises, base.plan)
    pruner = Pruner(base.db, base.media, _pruner_settings(base.settings))
    scheduler = Scheduler()
    leaser.claimed = reconciler.see_claim
    reconciler.hurry = partial(scheduler.hurry, "beat")
    scheduler.every(1.0, "beat", pulse.before("beat", reconciler.beat))
    scheduler.every(1.0, "expire", reconciler.expire)
    scheduler.every(queue.scan_seconds, "scan", reconciler.scan)
    scheduler.every(queue.sweep_seconds, "sweep", reconciler.sweep)
    scheduler.every(_LIMITS_SECONDS, "limits", base.plan.restore_limits)
    scheduler.every(_PRUNE_SECONDS, "prune", pruner.step)
    return scheduler


def _pruner_settings(settings: Settings) -> PrunerSettings:
    kept = settings.retention
    return PrunerSettings(
        task_days={
            TaskStatus.COMPLETED: kept.completed_days,
            TaskStatus.FAILED: kept.failed_days,
            TaskStatus.CANCELLED: kept.cancelled_days,
            TaskStatus.EXPIRED: kept.expired_days,
        },
        worker_days=kept.worker_days,
        upload_ttl_seconds=settings.media.upload_ttl_seconds,
    )
