"""The tables. What a column is for stands in its comment, in the database too."""

from core.store.tables.base import metadata
from core.store.tables.deliveries import delivery, delivery_attempt
from core.store.tables.service import api_key, instance_lease, queue_state, system, worker
from core.store.tables.tasks import recognition, remembered_key, task, task_event

__all__ = [
    "api_key",
    "delivery",
    "delivery_attempt",
    "instance_lease",
    "metadata",
    "queue_state",
    "recognition",
    "remembered_key",
    "system",
    "task",
    "task_event",
    "worker",
]
