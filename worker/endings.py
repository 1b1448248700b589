"""Ends of tasks as Prometheus counts them, whoever in the worker ended them."""

from __future__ import annotations

from core import metrics
from core.domain.task import Task


def count_end(after: Task) -> None:
    """Count a task that has ended."""
    metrics.TASKS_ENDED.labels(after.status.value, after.error.code if after.error else "").inc()
    if after.duration_ms is not None:
        metrics.RUN_SECONDS.observe(after.duration_ms / 1000)
