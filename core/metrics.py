"""What is counted for Prometheus; no tenant and no url is ever a label."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)

QUEUE_ENTRIES = Gauge("muster_queue_entries", "Entries of a queue by place", ["queue", "place"])
OLDEST_SECONDS = Gauge("muster_oldest_waiting_seconds", "How long the oldest pending task has waited")
INTAKE_PENDING = Gauge("muster_intake_pending", "Submissions that wait for their commit")
TASKS_ENDED = Counter("muster_tasks_ended", "Tasks that ended, by status and error code", ["status", "code"])
WAIT_SECONDS = Histogram("muster_wait_seconds", "From acceptance to first start", buckets=_SECONDS)
RUN_SECONDS = Histogram("muster_run_seconds", "From first start to end", buckets=_SECONDS)
PICTURE_SECONDS = Histogram(
    "muster_picture_seconds", "Time of one picture by step", ["step"], buckets=_SECONDS
)
LEASES_EXPIRED = Counter("muster_leases_expired", "Leases taken over by a reaper", ["queue"])
TASKS_TAKEN_BACK = Counter("muster_tasks_taken_back", "Tasks of lost workers", ["status"])
ENTRIES_REPAIRED = Counter("muster_entries_repaired", "Entries that the reconciler put back", ["kind"])
REBUILDS = Counter("muster_rebuilds", "Times the plan was rebuilt")
DELIVERIES = Counter("muster_deliveries", "Tries of callbacks by outcome", ["outcome"])
