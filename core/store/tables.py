"""The tables. What a column is for stands in its comment, in the database too."""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Float,
    Index,
    Integer,
    MetaData,
    SmallInteger,
    String,
    Table,
    UniqueConstraint,
)

from core.store.types import Json, LongBytes, UtcDateTime

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)


_MYSQL: dict[str, Any] = {
    "mysql_engine": "InnoDB",
    "mysql_charset": "utf8mb4",
    # Keys are compared byte by byte, as the other databases do; the default would take "A" for "a".
    "mysql_collate": "utf8mb4_bin",
}


def _column(name: str, kind: Any, comment: str, *, null: bool = False, **more: Any) -> Column[Any]:
    return Column(name, kind, comment=comment, nullable=null, **more)


def _id(comment: str) -> Column[Any]:
    return Column("id", BigInteger, primary_key=True, autoincrement=False, comment=comment)


task = Table(
    "task",
    metadata,
    _id("Snowflake id"),
    _column("system_code", String(20), "Tenant; the flow of the fair queue"),
    _column("business_id", String(64), "The caller's reference, not unique"),
    _column("client_id", String(64), "The caller's own id, unique for ever", null=True),
    _column("idempotency_key", String(128), "Idempotency-Key of the request", null=True),
    _column("idempotency_expires_at", UtcDateTime, "When that key may be used anew", null=True),
    _column("request_sha256", String(64), "Hash of the canonical request"),
    _column("dedup_key", String(64), "Key under which a later frame may replace this task", null=True),
    _column("dedup_mode", String(12), "keep_first or replace", null=True),
    _column("dedup_slot", String(64), "The dedup key until start, cancel or expiry", null=True),
    _column("prompt", String(40), "What is looked for, upper case"),
    _column("priority", SmallInteger, "0 (first) to 9"),
    _column("cost", SmallInteger, "Number of pictures"),
    _column("model", String(64), "Model asked for; null = by the time of capture", null=True),
    _column("min_score", Float(53), "Least score that counts; null = the model's", null=True),
    _column("timeout_seconds", Integer, "Time limit of one attempt"),
    _column("queue_ttl_seconds", Integer, "Time limit of waiting for the first start"),
    _column("callback_url", String(2048), "Where to call back", null=True),
    _column("callback_events", Json, "Subscribed event types"),
    _column("callback_shape", String(12), "event or envelope"),
    _column("metadata", Json, "The caller's own values, given back unchanged"),
    _column("traceparent", String(64), "W3C trace context of the submission", null=True),
    _column("status", String(12), "pending, in_progress, completed, failed, cancelled or expired"),
    _column("attempt", Integer, "Starts so far; the fencing token"),
    _column("failures", Integer, "Failed runs; the retry budget"),
    _column("crashes", Integer, "Workers lost; the poison budget"),
    _column("series", Integer, "1, and one more at every retry by the owner"),
    _column("worker_id", String(32), "Worker (boot id) of the current attempt", null=True),
    _column("claim_token", String(64), "Claim under which the current attempt runs", null=True),
    _column("deadline_at", UtcDateTime, "When the current attempt must have ended", null=True),
    _column("queue_expires_at", UtcDateTime, "When waiting for the first start ends"),
    _column("next_attempt_at", UtcDateTime, "Not before this time", null=True),
    _column("cancel_requested", Boolean, "The caller wants the running attempt stopped"),
    _column("error_code", String(40), "Stable code of the failure", null=True),
    _column("error_message", String(500), "The failure in a sentence", null=True),
    _column("created_at", UtcDateTime, "Accepted"),
    _column("started_at", UtcDateTime, "First start in this series", null=True),
    _column("completed_at", UtcDateTime, "Ended", null=True),
    _column("updated_at", UtcDateTime, "Last change of this row"),
    UniqueConstraint("system_code", "idempotency_key"),
    UniqueConstraint("system_code", "client_id"),
    UniqueConstraint("system_code", "dedup_slot"),
    Index(None, "status", "id"),
    Index(None, "status", "updated_at"),
    Index(None, "status", "queue_expires_at"),
    Index(None, "worker_id", "status"),
    Index(None, "system_code", "id"),
    Index(None, "system_code", "business_id", "id"),
    comment="One request for recognition",
    **_MYSQL,
)

recognition = Table(
    "recognition",
    metadata,
    _id("Snowflake id"),
    _column("task_id", BigInteger, "Its task"),
    _column("position", SmallInteger, "Order in the request, from 0"),
    _column("camera_id", String(64), "The caller's camera"),
    _column("image_url", String(2048), "Where the picture is"),
    _column("camera_height", Integer, "Height of the areas' coordinate system", null=True),
    _column("camera_width", Integer, "Width of the areas' coordinate system", null=True),
    _column("monitor_areas", Json, "Polygons [[x, y], ...]"),
    _column("capture_time", UtcDateTime, "When the picture was taken"),
    _column("model", String(64), "Model that looks at it"),
    _column("status", String(12), "pending, completed or failed"),
    _column("attempt", Integer, "Attempt that ended it", null=True),
    _column("image_width", Integer, "Pixels, upright", null=True),
    _column("image_height", Integer, "Pixels, upright", null=True),
    _column("image_channels", SmallInteger, "Colour channels", null=True),
    _column("objects", Json, "Found objects: label, score, box, areas", null=True),
    _column("counts", Json, "Label to number", null=True),
    _column("areas", Json, "Counts by area", null=True),
    _column("total", Integer, "Sum of counts", null=True),
    _column("timings_ms", Json, "Milliseconds by step", null=True),
    _column("media_key", String(255), "The annotated picture in the media store", null=True),
    _column("error_code", String(40), "Stable code of the failure", null=True),
    _column("error_message", String(500), "The failure in a sentence", null=True),
    _column("started_at", UtcDateTime, "Work on it began", null=True),
    _column("completed_at", UtcDateTime, "Ended", null=True),
    UniqueConstraint("task_id", "position"),
    Index(None, "camera_id", "task_id"),
    comment="One picture of a task and what was found in it",
    **_MYSQL,
)

task_event = Table(
    "task_event",
    metadata,
    _id("Snowflake id"),
    _column("task_id", BigInteger, "Its task"),
    _column("at", UtcDateTime, "When"),
    _column("from_status", String(12), "State before", null=True),
    _column("to_status", String(12), "State after"),
    _column("attempt", Integer, "Attempt at that moment"),
    _column("why", String(64), "What brought it about"),
    Index(None, "task_id", "id"),
    comment="History of states; rows are only added",
    **_MYSQL,
)

delivery = Table(
    "delivery",
    metadata,
    _id("Snowflake id; the webhook-id"),
    _column("task_id", BigInteger, "Its task"),
    _column("system_code", String(20), "Tenant"),
    _column("series", Integer, "Series of attempts of the task"),
    _column("event", String(20), "task.completed and others"),
    _column("recognition_id", BigInteger, "For task.image; else 0"),
    _column("url", String(2048), "Where to POST"),
    _column("host", String(255), "Host of the url"),
    _column("flow", String(12), "Hash of the host; the flow of the fair queue"),
    _column("body", LongBytes, "The bytes sent on every try"),
    _column("status", String(12), "pending, sending, delivered, dead or refused"),
    _column("attempt", Integer, "Starts so far; the fencing token"),
    _column("tries", Integer, "POSTs made; the place in the schedule"),
    _column("crashes", Integer, "Workers lost"),
    _column("worker_id", String(32), "Worker (boot id) of the current attempt", null=True),
    _column("claim_token", String(64), "Claim under which the current attempt runs", null=True),
    _column("deadline_at", UtcDateTime, "When the current attempt must have ended", null=True),
    _column("next_attempt_at", UtcDateTime, "Not before this time", null=True),
    _column("error_code", String(40), "Why the last try failed", null=True),
    _column("created_at", UtcDateTime, "Promised"),
    _column("delivered_at", UtcDateTime, "Received", null=True),
    _column("updated_at", UtcDateTime, "Last change of this row"),
    UniqueConstraint("task_id", "series", "event", "recognition_id"),
    Index(None, "status", "id"),
    Index(None, "status", "updated_at"),
    Index(None, "worker_id", "status"),
    Index(None, "system_code", "id"),
    comment="The promise of one callback",
    **_MYSQL,
)

delivery_attempt = Table(
    "delivery_attempt",
    metadata,
    _id("Snowflake id"),
    _column("delivery_id", BigInteger, "Its delivery"),
    _column("attempt", Integer, "Number of the try"),
    _column("at", UtcDateTime, "When"),
    _column("duration_ms", Float(53), "How long the POST took"),
    _column("status_code", SmallInteger, "HTTP status of the reply", null=True),
    _column("error_code", String(40), "Why it failed", null=True),
    _column("reply", String(1024), "Beginning of the reply", null=True),
    Index(None, "delivery_id", "id"),
    comment="One POST of a delivery and what came of it",
    **_MYSQL,
)

worker = Table(
    "worker",
    metadata,
    Column("id", String(32), primary_key=True, comment="Boot id; new at every start"),
    _column("host", String(255), "Host name"),
    _column("pid", Integer, "Process id"),
    _column("version", String(32), "Version of Muster"),
    _column("models", Json, "Models it can run"),
    _column("slots", Integer, "Tasks it works on at once"),
    _column("started_at", UtcDateTime, "Registered"),
    _column("last_seen_at", UtcDateTime, "Last heartbeat"),
    _column("alive_until", UtcDateTime, "Counts as alive until then"),
    _column("closed_at", UtcDateTime, "Left, or declared dead", null=True),
    Index(None, "closed_at", "alive_until"),
    comment="Worker processes and their heartbeats",
    **_MYSQL,
)

queue_state = Table(
    "queue_state",
    metadata,
    Column("queue", String(20), primary_key=True, comment="recognition, solo or delivery"),
    _column("paused", Boolean, "Nothing is claimed while true"),
    _column("scanned_at", UtcDateTime, "Start of the last successful scan", null=True),
    comment="What a queue must remember beyond Redis",
    **_MYSQL,
)

system = Table(
    "system",
    metadata,
    Column("code", String(20), primary_key=True, comment="system_code of the tenant"),
    _column("weight", Float(53), "Share in the fair order"),
    _column("max_running", Integer, "Tasks running at once; null = no limit", null=True),
    _column("max_waiting", Integer, "Tasks waiting at once; null = no limit", null=True),
    _column("fetch_allow", Json, "Private networks this tenant's cameras are in"),
    _column("secret", LongBytes, "Callback signing secret, sealed"),
    _column("secret_version", Integer, "One more at every rotation"),
    _column("old_secret", LongBytes, "Secret before the rotation, sealed", null=True),
    _column("old_secret_until", UtcDateTime, "Signs along until then", null=True),
    _column("created_at", UtcDateTime, "Added"),
    _column("updated_at", UtcDateTime, "Last change of this row"),
    comment="Tenants",
    **_MYSQL,
)

api_key = Table(
    "api_key",
    metadata,
    _id("Snowflake id"),
    _column("system_code", String(20), "Tenant; null = operator", null=True),
    _column("scope", String(12), "system or admin"),
    _column("prefix", String(16), "Beginning of the key, to recognise it by"),
    _column("key_sha256", String(64), "Hash of the key", unique=True),
    _column("created_at", UtcDateTime, "Made"),
    _column("last_used_at", UtcDateTime, "Used", null=True),
    _column("revoked_at", UtcDateTime, "Not valid from then on", null=True),
    comment="API keys, hashed",
    **_MYSQL,
)

instance_lease = Table(
    "instance_lease",
    metadata,
    Column("instance", SmallInteger, primary_key=True, autoincrement=False, comment="Instance number in ids"),
    _column("holder", String(32), "Process that uses the number"),
    _column("reserved_until_ms", BigInteger, "Ids below this time may be out; a new holder starts above"),
    comment="Who may make ids under which number",
    **_MYSQL,
)
