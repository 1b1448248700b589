"""What operators look at: queues, workers, readiness."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime

from core import metrics
from core.clock import utc_now
from core.domain.routing import QueueName
from core.errors import CacheMiss, DatabaseUnavailable, QueueUnavailable
from core.foundation import Foundation
from core.ids import created_ms
from core.queue.cache import Cache
from core.queue.lease import QueueStats
from core.store import migrate
from core.store.submissions import Submissions
from core.store.tasks import oldest_waiting_id
from core.store.workers import Worker, list_workers

_STATS_KEPT_SECONDS = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Overview:
    """The queues at one moment; a queue is missing when Redis is away."""

    queues: dict[QueueName, QueueStats]
    oldest_waiting_at: datetime | None

    @property
    def oldest_age_seconds(self) -> float:
        """How long the oldest waiting task has waited."""
        if self.oldest_waiting_at is None:
            return 0.0
        return max(0.0, (utc_now() - self.oldest_waiting_at).total_seconds())


class OverviewService:
    """Use cases around the state of the service."""

    def __init__(self, base: Foundation, submissions: Submissions) -> None:
        self._base, self._submissions = base, submissions
        self._measures = base.measures()
        self._cache = Cache(base.connections, "overview", namespace=base.settings.redis.namespace)

    async def stats(self) -> Overview:
        """How deep the queues are and how long the oldest task waits."""
        queues: dict[QueueName, QueueStats] = {}
        for name in QueueName:
            with suppress(QueueUnavailable):
                queues[name] = await self._base.inspector(name).stats()
        oldest = await self._oldest_ms()
        oldest_at = None if oldest is None else datetime.fromtimestamp(oldest / 1000, UTC)
        return Overview(queues=queues, oldest_waiting_at=oldest_at)

    async def _oldest_ms(self) -> int | None:
        """When the oldest waiting task came; asked of the database once a second for all processes."""
        with suppress(QueueUnavailable, CacheMiss):
            return int(await self._cache.get("oldest_ms")) or None
        oldest_id = await oldest_waiting_id(self._base.db)
        oldest = None if oldest_id is None else created_ms(oldest_id)
        with suppress(QueueUnavailable):
            await self._cache.set("oldest_ms", str(oldest or 0), ttl_seconds=_STATS_KEPT_SECONDS)
        return oldest

    async def measure(self) -> None:
        """Bring the gauges up to date."""
        await self._measures.take()
        metrics.INTAKE_PENDING.set(self.intake_depth)

    async def workers(self) -> list[Worker]:
        """The workers that live."""
        return await list_workers(self._base.db)

    def standstills(self) -> list[str]:
        """Why this process should be started anew; a database that is away is none: it refuses in time."""
        seconds = self._submissions.stalled_seconds
        if seconds <= self._base.settings.intake.stalled_seconds:
            return []
        return [f"submissions have not moved for {seconds:.0f} s"]

    async def faults(self) -> list[str]:
        """Why this process cannot serve; empty = ready. Redis is not needed to accept tasks."""
        try:
            if not await migrate.is_migrated(self._base.db):
                return ["the database is not migrated: run muster migrate"]
        except DatabaseUnavailable as error:
            return [error.message]
        return []

    async def remarks(self) -> list[str]:
        """What is wrong though tasks are accepted: Redis away, no worker."""
        remarks = []
        try:
            await self._base.connections.ping()
        except QueueUnavailable as error:
            remarks.append(error.message)
        with suppress(DatabaseUnavailable):
            if not await list_workers(self._base.db):
                remarks.append("no worker is alive: nothing is recognised or called back")
        return remarks

    @property
    def intake_depth(self) -> int:
        """How many submissions wait for their commit in this process."""
        return self._submissions.depth
