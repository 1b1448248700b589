"""Erases what has been kept long enough: tasks with their pictures, uploads, rows of dead workers."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

import structlog

from core import metrics
from core.clock import utc_now
from core.domain.task import TaskStatus
from core.media import SHARDS, Media
from core.store.engine import Database
from core.store.pruning import known_tasks, prune_tasks, prune_workers

log = structlog.get_logger()

_DAY_SECONDS = 86_400.0
_BATCHES = 100
"""Per status and step; what is left waits for the next step."""
_ASKED_AT_ONCE = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class PrunerSettings:
    """How long things are kept."""

    task_days: Mapping[TaskStatus, float]
    worker_days: float
    upload_ttl_seconds: int


class Pruner:
    """Erases in small batches, so that no statement takes long.

    Rows go first, their pictures right after them. Pictures that stayed behind, because the process
    died in between or the media store was away, have no row any more; each step compares one of the
    folders they lie in with the rows, so that all have been looked at after `SHARDS` steps.
    """

    def __init__(self, db: Database, media: Media, settings: PrunerSettings) -> None:
        self._db, self._media, self._settings = db, media, settings
        self._shard = random.randrange(SHARDS)

    async def step(self) -> None:
        """Erase what is due."""
        oldest = utc_now() - timedelta(seconds=self._settings.upload_ttl_seconds)
        pruned = {
            "task": await self._prune_tasks(),
            "worker": await prune_workers(
                self._db, older_than_seconds=self._settings.worker_days * _DAY_SECONDS
            ),
            "upload": await self._media.purge_uploads(oldest),
            "picture": await self.drop_orphans(self._shard),
        }
        self._shard = (self._shard + 1) % SHARDS
        for kind, count in pruned.items():
            metrics.PRUNED.labels(kind).inc(count)
        if any(pruned.values()):
            log.info("store.pruned", **{f"{kind}s": count for kind, count in pruned.items()})

    async def _prune_tasks(self) -> int:
        total = 0
        for status, days in self._settings.task_days.items():
            total += await self._prune_status(status, days * _DAY_SECONDS)
        return total

    async def _prune_status(self, status: TaskStatus, older_than_seconds: float) -> int:
        total, after_id = 0, 0
        for _ in range(_BATCHES):
            batch = await prune_tasks(
                self._db, status, older_than_seconds=older_than_seconds, after_id=after_id
            )
            await self._media.delete(batch.media_keys)
            total += batch.tasks
            if batch.last_id is None:
                break
            after_id = batch.last_id
        return total

    async def drop_orphans(self, shard: int) -> int:
        """Remove the pictures in one folder whose task has no row; answers how many.

        A row is there before its first picture and its id is never used again: whatever has no row
        now will never have one.
        """
        kept = await self._media.annotated(shard)
        ids = list(kept)
        orphans: list[str] = []
        for first in range(0, len(ids), _ASKED_AT_ONCE):
            asked = ids[first : first + _ASKED_AT_ONCE]
            known = await known_tasks(self._db, asked)
            orphans += [key for task_id in asked if task_id not in known for key in kept[task_id]]
        await self._media.delete(orphans)
        return len(orphans)
