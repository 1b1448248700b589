"""Reading counters: what was counted in this process so far."""

from __future__ import annotations

from prometheus_client import Counter


def counted(metric: Counter) -> float:
    """Give what a counter says now."""
    return sum(
        sample.value for told in metric.collect() for sample in told.samples if sample.name.endswith("_total")
    )
