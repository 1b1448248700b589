"""Erases what has been kept long enough: tasks with their pictures, and uploads."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

import structlog

from core.clock import utc_now
from core.domain.task import TaskStatus
from core.media import Media
from core.store.engine import Database
from core.store.upkeep import prune_tasks

log = structlog.get_logger()

_DAY_SECONDS = 86_400.0
_BATCHES = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class PrunerSettings:
    """How long things are kept."""

    completed_days: float
    failed_days: float
    upload_ttl_seconds: int


class Pruner:
    """Erases in small batches, so that no statement takes long."""

    def __init__(self, db: Database, media: Media, settings: PrunerSettings) -> None:
        self._db, self._media, self._settings = db, media, settings

    async def step(self) -> None:
        """Erase what is due."""
        soon = (TaskStatus.COMPLETED, TaskStatus.CANCELLED, TaskStatus.EXPIRED)
        erased = await self._erase(soon, self._settings.completed_days)
        erased += await self._erase((TaskStatus.FAILED,), self._settings.failed_days)
        oldest = utc_now() - timedelta(seconds=self._settings.upload_ttl_seconds)
        uploads = await self._media.purge_uploads(oldest)
        if erased or uploads:
            log.info("store.pruned", tasks=erased, uploads=uploads)

    async def _erase(self, statuses: tuple[TaskStatus, ...], days: float) -> int:
        total = 0
        for _ in range(_BATCHES):
            erased, keys = await prune_tasks(self._db, statuses, older_than_seconds=days * _DAY_SECONDS)
            await self._media.delete(keys)
            total += erased
            if erased == 0:
                break
        return total
