"""What is counted for Prometheus; no tenant and no url is ever a label."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)

QUEUE_ENTRIES = Gauge("muster_queue_entries", "Entries of a queue by place", ["queue", "place"])
OLDEST_SECONDS = Gauge("muster_oldest_waiting_seconds", "How long the oldest pending task has waited")
READY_LAG_SECONDS = Gauge(
    "muster_ready_lag_seconds", "How long the entry that is next might have run already", ["queue"]
)
INTAKE_PENDING = Gauge("muster_intake_pending", "Submissions that wait for their commit")
TASKS_ENDED = Counter("muster_tasks_ended", "Tasks that ended, by status and error code", ["status", "code"])
WAIT_SECONDS = Histogram("muster_wait_seconds", "From acceptance to first start", buckets=_SECONDS)
RUN_SECONDS = Histogram("muster_run_seconds", "From first start to end", buckets=_SECONDS)
PICTURE_SECONDS = Histogram(
    "muster_picture_seconds", "Time of one picture by step", ["step"], buckets=_SECONDS
)
WORKERS_LOST = Counter("muster_workers_lost", "Silent workers that were declared dead")
LEASES_EXPIRED = Counter("muster_leases_expired", "Leases taken over by a reaper", ["queue"])
LEASES_REASSIGNED = Counter(
    "muster_leases_reassigned", "Expired leases whose entry went back for another worker", ["queue"]
)
TASKS_TAKEN_BACK = Counter(
    "muster_tasks_taken_back", "Tasks of lost workers, by the status they got", ["status"]
)
DELIVERIES_TAKEN_BACK = Counter(
    "muster_deliveries_taken_back", "Callbacks of lost workers, by the status they got", ["status"]
)
ENTRIES_REPAIRED = Counter(
    "muster_entries_repaired",
    "Entries put right by the reconciler: missing, late, stuck, ghost, message, rebuilt",
    ["queue", "kind"],
)
REBUILDS = Counter("muster_rebuilds", "Times the plan was rebuilt, by how it was lost", ["loss"])
REBUILD_SECONDS = Histogram("muster_rebuild_seconds", "Time of one rebuild of the plan", buckets=_SECONDS)
DELIVERIES = Counter("muster_deliveries", "Tries of callbacks by outcome; dead = given up", ["outcome"])
PRUNED = Counter("muster_pruned", "What was erased because it was kept long enough, by kind", ["kind"])
