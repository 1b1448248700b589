"""Gauges that are read when somebody scrapes: how deep the queues are, how long things have waited."""

from __future__ import annotations

from collections.abc import Mapping
from math import nan

from core import metrics
from core.clock import utc_now
from core.domain.routing import QueueName
from core.errors import DatabaseUnavailable, QueueUnavailable, Unavailable
from core.ids import created_ms
from core.plan import Plan
from core.queue.inspect import QueueInspector
from core.store.engine import Database
from core.store.tasks import oldest_waiting_id

_PLACES = ("ready", "delayed", "leased", "parked", "overdue", "expired")


class Measures:
    """Brings the gauges up to date; what cannot be read now is absent or NaN, never an old figure."""

    def __init__(self, db: Database, plan: Plan, inspectors: Mapping[QueueName, QueueInspector]) -> None:
        self._db, self._plan, self._inspectors = db, plan, inspectors

    async def take(self) -> None:
        """Read everything once."""
        metrics.QUEUE_ENTRIES.clear()
        metrics.READY_LAG_SECONDS.clear()
        for name, inspector in self._inspectors.items():
            try:
                await self._measure(name, inspector)
            except QueueUnavailable:
                break  # the others are on the same server
            except DatabaseUnavailable:
                continue
        metrics.OLDEST_SECONDS.set(await self._oldest_seconds())

    async def _measure(self, name: QueueName, inspector: QueueInspector) -> None:
        stats = await inspector.stats()
        for place in _PLACES:
            metrics.QUEUE_ENTRIES.labels(name.value, place).set(getattr(stats, place))
        lag_seconds = await self._plan.ready_lag_seconds(name)
        metrics.READY_LAG_SECONDS.labels(name.value).set(lag_seconds)

    async def _oldest_seconds(self) -> float:
        try:
            oldest_id = await oldest_waiting_id(self._db)
        except Unavailable:
            return nan
        if oldest_id is None:
            return 0.0
        return max(0.0, utc_now().timestamp() - created_ms(oldest_id) / 1000)
