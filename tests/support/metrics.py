"""Reading what is counted for Prometheus: in this process, or as it is scraped."""

from __future__ import annotations

from prometheus_client import Counter
from prometheus_client.parser import text_string_to_metric_families

Scraped = dict[str, float]
"""Value by name and labels, as `name{label="value"}`."""


def read_scrape(text: str) -> Scraped:
    """Give every sample of a scrape."""
    found: Scraped = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            labels = ",".join(f'{name}="{value}"' for name, value in sorted(sample.labels.items()))
            found[f"{sample.name}{{{labels}}}" if labels else sample.name] = sample.value
    return found


def counted(metric: Counter) -> float:
    """Give what a counter says now."""
    return sum(
        sample.value for told in metric.collect() for sample in told.samples if sample.name.endswith("_total")
    )
