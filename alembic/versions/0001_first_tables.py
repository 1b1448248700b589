"""First tables.

Revision ID: 0001
Revises:
"""

import sqlalchemy as sa
from alembic import op

from core.store.types import Json, LongBytes, UtcDateTime

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make all tables."""
    op.create_table(
        "api_key",
        sa.Column("id", sa.BigInteger(), autoincrement=False, nullable=False, comment="Snowflake id"),
        sa.Column("system_code", sa.String(length=20), nullable=True, comment="Tenant; null = operator"),
        sa.Column("scope", sa.String(length=12), nullable=False, comment="system or admin"),
        sa.Column(
            "prefix", sa.String(length=16), nullable=False, comment="Beginning of the key, to recognise it by"
        ),
        sa.Column("key_sha256", sa.String(length=64), nullable=False, comment="Hash of the key"),
        sa.Column("created_at", UtcDateTime(), nullable=False, comment="Made"),
        sa.Column("last_used_at", UtcDateTime(), nullable=True, comment="Used"),
        sa.Column("revoked_at", UtcDateTime(), nullable=True, comment="Not valid from then on"),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("key_sha256", name=op.f("uq_api_key_key_sha256")),
        comment="API keys, hashed",
        mysql_charset="utf8mb4",
        mysql_collate="utf8mb4_bin",
        mysql_engine="InnoDB",
    )
    op.create_table(
        "delivery",
        sa.Column(
            "id", sa.BigInteger(), autoincrement=False, nullable=False, comment="Snowflake id; the webhook-id"
        ),
        sa.Column("task_id", sa.BigInteger(), nullable=False, comment="Its task"),
        sa.Column("system_code", sa.String(length=20), nullable=False, comment="Tenant"),
        sa.Column("series", sa.Integer(), nullable=False, comment="Series of attempts of the task"),
        sa.Column("event", sa.String(length=20), nullable=False, comment="task.completed and others"),
        sa.Column("recognition_id", sa.BigInteger(), nullable=False, comment="For task.image; else 0"),
        sa.Column("url", sa.String(length=2048), nullable=False, comment="Where to POST"),
        sa.Column("host", sa.String(length=255), nullable=False, comment="Host of the url"),
        sa.Column(
            "flow",
            sa.String(length=12),
            nullable=False,
            comment="Hash of the host; the flow of the fair queue",
        ),
        sa.Column(
            "traceparent",
            sa.String(length=64),
            nullable=True,
            comment="W3C trace context of the submission",
        ),
        sa.Column("body", LongBytes, nullable=False, comment="The bytes sent on every try"),
        sa.Column(
            "status",
            sa.String(length=12),
            nullable=False,
            comment="pending, sending, delivered, dead or refused",
        ),
        sa.Column("attempt", sa.Integer(), nullable=False, comment="Starts so far; the fencing token"),
        sa.Column("tries", sa.Integer(), nullable=False, comment="POSTs made; the place in the schedule"),
        sa.Column("crashes", sa.Integer(), nullable=False, comment="Workers lost"),
        sa.Column(
            "worker_id",
            sa.String(length=32),
            nullable=True,
            comment="Worker (boot id) of the current attempt",
        ),
        sa.Column(
            "claim_token",
            sa.String(length=64),
            nullable=True,
            comment="Claim under which the current attempt runs",
        ),
        sa.Column(
            "deadline_at", UtcDateTime(), nullable=True, comment="When the current attempt must have ended"
        ),
        sa.Column("next_attempt_at", UtcDateTime(), nullable=True, comment="Not before this time"),
        sa.Column("error_code", sa.String(length=40), nullable=True, comment="Why the last try failed"),
        sa.Column("created_at", UtcDateTime(), nullable=False, comment="Promised"),
        sa.Column("delivered_at", UtcDateTime(), nullable=True, comment="Received"),
        sa.Column("updated_at", UtcDateTime(), nullable=False, comment="Last change of this row"),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint(
            "task_id",
            "series",
            "event",
            "recognition_id",
            name=op.f("uq_delivery_task_id_series_event_recognition_id"),
        ),
        comment="The promise of one callback",
        mysql_charset="utf8mb4",
        mysql_collate="utf8mb4_bin",
        mysql_engine="InnoDB",
    )
    op.create_index(op.f("ix_delivery_status_id"), "delivery", ["status", "id"], unique=False)
    op.create_index(op.f("ix_delivery_status_updated_at"), "delivery", ["status", "updated_at"], unique=False)
    op.create_index(op.f("ix_delivery_system_code_id"), "delivery", ["system_code", "id"], unique=False)
    op.create_index(op.f("ix_delivery_worker_id_status"), "delivery", ["worker_id", "status"], unique=False)
    op.create_table(
        "delivery_attempt",
        sa.Column("id", sa.BigInteger(), autoincrement=False, nullable=False, comment="Snowflake id"),
        sa.Column("delivery_id", sa.BigInteger(), nullable=False, comment="Its delivery"),
        sa.Column("attempt", sa.Integer(), nullable=False, comment="Number of the try"),
        sa.Column("at", UtcDateTime(), nullable=False, comment="When"),
        sa.Column("duration_ms", sa.Double(), nullable=False, comment="How long the POST took"),
        sa.Column("status_code", sa.SmallInteger(), nullable=True, comment="HTTP status of the reply"),
        sa.Column("error_code", sa.String(length=40), nullable=True, comment="Why it failed"),
        sa.Column("reply", sa.String(length=1024), nullable=True, comment="Beginning of the reply"),
        sa.PrimaryKeyConstraint("id"),
        comment="One POST of a delivery and what came of it",
        mysql_charset="utf8mb4",
        mysql_collate="utf8mb4_bin",
        mysql_engine="InnoDB",
    )
    op.create_index(
        op.f("ix_delivery_attempt_delivery_id_id"), "delivery_attempt", ["delivery_id", "id"], unique=False
    )
    op.create_table(
        "instance_lease",
        sa.Column(
            "instance",
            sa.SmallInteger(),
            autoincrement=False,
            nullable=False,
            comment="Instance number in ids",
        ),
        sa.Column("holder", sa.String(length=32), nullable=False, comment="Process that uses the number"),
        sa.Column(
            "reserved_until_ms",
            sa.BigInteger(),
            nullable=False,
            comment="Ids below this time may be out; a new holder starts above",
        ),
        sa.PrimaryKeyConstraint("instance"),
        comment="Who may make ids under which number",
        mysql_charset="utf8mb4",
        mysql_collate="utf8mb4_bin",
        mysql_engine="InnoDB",
    )
    op.create_table(
        "queue_state",
        sa.Column("queue", sa.String(length=20), nullable=False, comment="recognition, solo or delivery"),
        sa.Column("paused", sa.Boolean(), nullable=False, comment="Nothing is claimed while true"),
        sa.Column("scanned_at", UtcDateTime(), nullable=True, comment="Start of the last successful scan"),
        sa.PrimaryKeyConstraint("queue"),
        comment="What a queue must remember beyond Redis",
        mysql_charset="utf8mb4",
        mysql_collate="utf8mb4_bin",
        mysql_engine="InnoDB",
    )
    op.create_table(
        "recognition",
        sa.Column("id", sa.BigInteger(), autoincrement=False, nullable=False, comment="Snowflake id"),
        sa.Column("task_id", sa.BigInteger(), nullable=False, comment="Its task"),
        sa.Column("position", sa.SmallInteger(), nullable=False, comment="Order in the request, from 0"),
        sa.Column("camera_id", sa.String(length=64), nullable=False, comment="The caller's camera"),
        sa.Column("image_url", sa.String(length=2048), nullable=False, comment="Where the picture is"),
        sa.Column(
            "camera_height", sa.Integer(), nullable=True, comment="Height of the areas' coordinate system"
        ),
        sa.Column(
            "camera_width", sa.Integer(), nullable=True, comment="Width of the areas' coordinate system"
        ),
        sa.Column("monitor_areas", Json, nullable=False, comment="Polygons [[x, y], ...]"),
        sa.Column("capture_time", UtcDateTime(), nullable=False, comment="When the picture was taken"),
        sa.Column("model", sa.String(length=64), nullable=False, comment="Model that looks at it"),
        sa.Column("status", sa.String(length=12), nullable=False, comment="pending, completed or failed"),
        sa.Column("attempt", sa.Integer(), nullable=True, comment="Attempt that ended it"),
        sa.Column("image_width", sa.Integer(), nullable=True, comment="Pixels, upright"),
        sa.Column("image_height", sa.Integer(), nullable=True, comment="Pixels, upright"),
        sa.Column("image_channels", sa.SmallInteger(), nullable=True, comment="Colour channels"),
        sa.Column("objects", Json, nullable=True, comment="Found objects: label, score, box, areas"),
        sa.Column("counts", Json, nullable=True, comment="Label to number"),
        sa.Column("areas", Json, nullable=True, comment="Counts by area"),
        sa.Column("total", sa.Integer(), nullable=True, comment="Sum of counts"),
        sa.Column("timings_ms", Json, nullable=True, comment="Milliseconds by step"),
        sa.Column(
            "media_key",
            sa.String(length=255),
            nullable=True,
            comment="The annotated picture in the media store",
        ),
        sa.Column("error_code", sa.String(length=40), nullable=True, comment="Stable code of the failure"),
        sa.Column("error_message", sa.String(length=500), nullable=True, comment="The failure in a sentence"),
        sa.Column("started_at", UtcDateTime(), nullable=True, comment="Work on it began"),
        sa.Column("completed_at", UtcDateTime(), nullable=True, comment="Ended"),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("task_id", "position", name=op.f("uq_recognition_task_id_position")),
        comment="One picture of a task and what was found in it",
        mysql_charset="utf8mb4",
        mysql_collate="utf8mb4_bin",
        mysql_engine="InnoDB",
    )
    op.create_index(
        op.f("ix_recognition_camera_id_task_id"), "recognition", ["camera_id", "task_id"], unique=False
    )
    op.create_table(
        "system",
        sa.Column("code", sa.String(length=20), nullable=False, comment="system_code of the tenant"),
        sa.Column("weight", sa.Double(), nullable=False, comment="Share in the fair order"),
        sa.Column(
            "max_running", sa.Integer(), nullable=True, comment="Tasks running at once; null = no limit"
        ),
        sa.Column(
            "max_waiting", sa.Integer(), nullable=True, comment="Tasks waiting at once; null = no limit"
        ),
        sa.Column(
            "fetch_allow", Json, nullable=False, comment="Private networks this tenant's cameras are in"
        ),
        sa.Column("secret", LongBytes, nullable=False, comment="Callback signing secret, sealed"),
        sa.Column("secret_version", sa.Integer(), nullable=False, comment="One more at every rotation"),
        sa.Column("old_secret", LongBytes, nullable=True, comment="Secret before the rotation, sealed"),
        sa.Column("old_secret_until", UtcDateTime(), nullable=True, comment="Signs along until then"),
        sa.Column("created_at", UtcDateTime(), nullable=False, comment="Added"),
        sa.Column("updated_at", UtcDateTime(), nullable=False, comment="Last change of this row"),
        sa.PrimaryKeyConstraint("code"),
        comment="Tenants",
        mysql_charset="utf8mb4",
        mysql_collate="utf8mb4_bin",
        mysql_engine="InnoDB",
    )
    op.create_table(
        "task",
        sa.Column("id", sa.BigInteger(), autoincrement=False, nullable=False, comment="Snowflake id"),
        sa.Column(
            "system_code", sa.String(length=20), nullable=False, comment="Tenant; the flow of the fair queue"
        ),
        sa.Column(
            "business_id", sa.String(length=64), nullable=False, comment="The caller's reference, not unique"
        ),
        sa.Column(
            "client_id", sa.String(length=64), nullable=True, comment="The caller's own id, unique for ever"
        ),
        sa.Column(
            "idempotency_key", sa.String(length=128), nullable=True, comment="Idempotency-Key of the request"
        ),
        sa.Column(
            "idempotency_expires_at", UtcDateTime(), nullable=True, comment="When that key may be used anew"
        ),
        sa.Column(
            "request_sha256", sa.String(length=64), nullable=False, comment="Hash of the canonical request"
        ),
        sa.Column(
            "dedup_key",
            sa.String(length=64),
            nullable=True,
            comment="Key under which a later frame may replace this task",
        ),
        sa.Column("dedup_mode", sa.String(length=12), nullable=True, comment="keep_first or replace"),
        sa.Column(
            "dedup_slot",
            sa.String(length=64),
            nullable=True,
            comment="The dedup key until start, cancel or expiry",
        ),
        sa.Column("prompt", sa.String(length=40), nullable=False, comment="What is looked for, upper case"),
        sa.Column("priority", sa.SmallInteger(), nullable=False, comment="0 (first) to 9"),
        sa.Column("cost", sa.SmallInteger(), nullable=False, comment="Number of pictures"),
        sa.Column(
            "model",
            sa.String(length=64),
            nullable=True,
            comment="Model asked for; null = by the time of capture",
        ),
        sa.Column(
            "min_score",
            sa.Double(),
            nullable=True,
            comment="Least score that counts; null = the model's",
        ),
        sa.Column("timeout_seconds", sa.Integer(), nullable=False, comment="Time limit of one attempt"),
        sa.Column(
            "queue_ttl_seconds",
            sa.Integer(),
            nullable=False,
            comment="Time limit of waiting for the first start",
        ),
        sa.Column("callback_url", sa.String(length=2048), nullable=True, comment="Where to call back"),
        sa.Column("callback_events", Json, nullable=False, comment="Subscribed event types"),
        sa.Column("callback_shape", sa.String(length=12), nullable=False, comment="event or envelope"),
        sa.Column("metadata", Json, nullable=False, comment="The caller's own values, given back unchanged"),
        sa.Column(
            "traceparent", sa.String(length=64), nullable=True, comment="W3C trace context of the submission"
        ),
        sa.Column(
            "status",
            sa.String(length=12),
            nullable=False,
            comment="pending, in_progress, completed, failed, cancelled or expired",
        ),
        sa.Column("attempt", sa.Integer(), nullable=False, comment="Starts so far; the fencing token"),
        sa.Column("failures", sa.Integer(), nullable=False, comment="Failed runs; the retry budget"),
        sa.Column("crashes", sa.Integer(), nullable=False, comment="Workers lost; the poison budget"),
        sa.Column(
            "series", sa.Integer(), nullable=False, comment="1, and one more at every retry by the owner"
        ),
        sa.Column(
            "worker_id",
            sa.String(length=32),
            nullable=True,
            comment="Worker (boot id) of the current attempt",
        ),
        sa.Column(
            "claim_token",
            sa.String(length=64),
            nullable=True,
            comment="Claim under which the current attempt runs",
        ),
        sa.Column(
            "deadline_at", UtcDateTime(), nullable=True, comment="When the current attempt must have ended"
        ),
        sa.Column(
            "queue_expires_at", UtcDateTime(), nullable=False, comment="When waiting for the first start ends"
        ),
        sa.Column("next_attempt_at", UtcDateTime(), nullable=True, comment="Not before this time"),
        sa.Column(
            "cancel_requested",
            sa.Boolean(),
            nullable=False,
            comment="The caller wants the running attempt stopped",
        ),
        sa.Column("error_code", sa.String(length=40), nullable=True, comment="Stable code of the failure"),
        sa.Column("error_message", sa.String(length=500), nullable=True, comment="The failure in a sentence"),
        sa.Column("created_at", UtcDateTime(), nullable=False, comment="Accepted"),
        sa.Column("started_at", UtcDateTime(), nullable=True, comment="First start in this series"),
        sa.Column("completed_at", UtcDateTime(), nullable=True, comment="Ended"),
        sa.Column("updated_at", UtcDateTime(), nullable=False, comment="Last change of this row"),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("system_code", "client_id", name=op.f("uq_task_system_code_client_id")),
        sa.UniqueConstraint("system_code", "dedup_slot", name=op.f("uq_task_system_code_dedup_slot")),
        sa.UniqueConstraint(
            "system_code", "idempotency_key", name=op.f("uq_task_system_code_idempotency_key")
        ),
        comment="One request for recognition",
        mysql_charset="utf8mb4",
        mysql_collate="utf8mb4_bin",
        mysql_engine="InnoDB",
    )
    op.create_index(op.f("ix_task_status_id"), "task", ["status", "id"], unique=False)
    op.create_index(
        op.f("ix_task_status_queue_expires_at"), "task", ["status", "queue_expires_at"], unique=False
    )
    op.create_index(op.f("ix_task_status_updated_at"), "task", ["status", "updated_at"], unique=False)
    op.create_index(
        op.f("ix_task_system_code_business_id_id"), "task", ["system_code", "business_id", "id"], unique=False
    )
    op.create_index(op.f("ix_task_system_code_id"), "task", ["system_code", "id"], unique=False)
    op.create_index(op.f("ix_task_worker_id_status"), "task", ["worker_id", "status"], unique=False)
    op.create_table(
        "task_event",
        sa.Column("id", sa.BigInteger(), autoincrement=False, nullable=False, comment="Snowflake id"),
        sa.Column("task_id", sa.BigInteger(), nullable=False, comment="Its task"),
        sa.Column("at", UtcDateTime(), nullable=False, comment="When"),
        sa.Column("from_status", sa.String(length=12), nullable=True, comment="State before"),
        sa.Column("to_status", sa.String(length=12), nullable=False, comment="State after"),
        sa.Column("attempt", sa.Integer(), nullable=False, comment="Attempt at that moment"),
        sa.Column("why", sa.String(length=64), nullable=False, comment="What brought it about"),
        sa.PrimaryKeyConstraint("id"),
        comment="History of states; rows are only added",
        mysql_charset="utf8mb4",
        mysql_collate="utf8mb4_bin",
        mysql_engine="InnoDB",
    )
    op.create_index(op.f("ix_task_event_task_id_id"), "task_event", ["task_id", "id"], unique=False)
    op.create_table(
        "worker",
        sa.Column("id", sa.String(length=32), nullable=False, comment="Boot id; new at every start"),
        sa.Column("host", sa.String(length=255), nullable=False, comment="Host name"),
        sa.Column("pid", sa.Integer(), nullable=False, comment="Process id"),
        sa.Column("version", sa.String(length=32), nullable=False, comment="Version of Muster"),
        sa.Column("models", Json, nullable=False, comment="Models it can run"),
        sa.Column("slots", sa.Integer(), nullable=False, comment="Tasks it works on at once"),
        sa.Column("started_at", UtcDateTime(), nullable=False, comment="Registered"),
        sa.Column("last_seen_at", UtcDateTime(), nullable=False, comment="Last heartbeat"),
        sa.Column("alive_until", UtcDateTime(), nullable=False, comment="Counts as alive until then"),
        sa.Column("closed_at", UtcDateTime(), nullable=True, comment="Left, or declared dead"),
        sa.PrimaryKeyConstraint("id"),
        comment="Worker processes and their heartbeats",
        mysql_charset="utf8mb4",
        mysql_collate="utf8mb4_bin",
        mysql_engine="InnoDB",
    )
    op.create_index(
        op.f("ix_worker_closed_at_alive_until"), "worker", ["closed_at", "alive_until"], unique=False
    )


def downgrade() -> None:
    """Drop all tables."""
    op.drop_index(op.f("ix_worker_closed_at_alive_until"), table_name="worker")
    op.drop_table("worker")
    op.drop_index(op.f("ix_task_event_task_id_id"), table_name="task_event")
    op.drop_table("task_event")
    op.drop_index(op.f("ix_task_worker_id_status"), table_name="task")
    op.drop_index(op.f("ix_task_system_code_id"), table_name="task")
    op.drop_index(op.f("ix_task_system_code_business_id_id"), table_name="task")
    op.drop_index(op.f("ix_task_status_updated_at"), table_name="task")
    op.drop_index(op.f("ix_task_status_queue_expires_at"), table_name="task")
    op.drop_index(op.f("ix_task_status_id"), table_name="task")
    op.drop_table("task")
    op.drop_table("system")
    op.drop_index(op.f("ix_recognition_camera_id_task_id"), table_name="recognition")
    op.drop_table("recognition")
    op.drop_table("queue_state")
    op.drop_table("instance_lease")
    op.drop_index(op.f("ix_delivery_attempt_delivery_id_id"), table_name="delivery_attempt")
    op.drop_table("delivery_attempt")
    op.drop_index(op.f("ix_delivery_worker_id_status"), table_name="delivery")
    op.drop_index(op.f("ix_delivery_system_code_id"), table_name="delivery")
    op.drop_index(op.f("ix_delivery_status_updated_at"), table_name="delivery")
    op.drop_index(op.f("ix_delivery_status_id"), table_name="delivery")
    op.drop_table("delivery")
    op.drop_table("api_key")
