"""Callbacks that were promised, and every POST of them."""

from __future__ import annotations

from sqlalchemy import BigInteger, Double, Index, Integer, SmallInteger, String, Table, UniqueConstraint

from core.store.tables.base import MYSQL, column, id_column, metadata
from core.store.types import LongBytes, UtcDateTime

delivery = Table(
    "delivery",
    metadata,
    id_column("Snowflake id; the webhook-id"),
    column("task_id", BigInteger, "Its task"),
    column("system_code", String(20), "Tenant"),
    column("series", Integer, "Series of attempts of the task"),
    column("event", String(20), "task.completed and others"),
    column("recognition_id", BigInteger, "For task.image; else 0"),
    column("url", String(2048), "Where to POST"),
    column("host", String(255), "Host of the url"),
    column("flow", String(12), "Hash of the host; the flow of the fair queue"),
    column("traceparent", String(64), "W3C trace context of the submission", null=True),
    column("body", LongBytes, "The bytes sent on every try"),
    column("status", String(12), "pending, sending, delivered, dead or refused"),
    column("attempt", Integer, "Starts so far; the fencing token"),
    column("tries", Integer, "POSTs made; the place in the schedule"),
    column("crashes", Integer, "Workers lost"),
    column("worker_id", String(32), "Worker (boot id) of the current attempt", null=True),
    column("claim_token", String(64), "Claim under which the current attempt runs", null=True),
    column("deadline_at", UtcDateTime, "When the current attempt must have ended", null=True),
    column("next_attempt_at", UtcDateTime, "Not before this time", null=True),
    column("error_code", String(40), "Why the last try failed", null=True),
    column("created_at", UtcDateTime, "Promised"),
    column("delivered_at", UtcDateTime, "Received", null=True),
    column("updated_at", UtcDateTime, "Last change of this row"),
    UniqueConstraint("task_id", "series", "event", "recognition_id"),
    Index(None, "status", "id"),
    Index(None, "status", "updated_at"),
    Index(None, "worker_id", "status"),
    Index(None, "system_code", "id"),
    comment="The promise of one callback",
    **MYSQL,
)

delivery_attempt = Table(
    "delivery_attempt",
    metadata,
    id_column("Snowflake id"),
    column("delivery_id", BigInteger, "Its delivery"),
    column("attempt", Integer, "Number of the try"),
    column("at", UtcDateTime, "When"),
    column("duration_ms", Double(), "How long the POST took"),
    column("status_code", SmallInteger, "HTTP status of the reply", null=True),
    column("error_code", String(40), "Why it failed", null=True),
    column("reply", String(1024), "Beginning of the reply", null=True),
    Index(None, "delivery_id", "id"),
    comment="One POST of a delivery and what came of it",
    **MYSQL,
)
