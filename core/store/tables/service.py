"""The service itself: workers, queues, tenants, keys, and who makes ids under which number."""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, Double, Index, Integer, SmallInteger, String, Table

from core.store.tables.base import MYSQL, column, id_column, metadata
from core.store.types import Json, LongBytes, UtcDateTime

worker = Table(
    "worker",
    metadata,
    Column("id", String(32), primary_key=True, comment="Boot id; new at every start"),
    column("host", String(255), "Host name"),
    column("pid", Integer, "Process id"),
    column("version", String(32), "Version of Muster"),
    column("models", Json, "Models it can run"),
    column("slots", Integer, "Tasks it works on at once"),
    column("started_at", UtcDateTime, "Registered"),
    column("last_seen_at", UtcDateTime, "Last heartbeat"),
    column("alive_until", UtcDateTime, "Counts as alive until then"),
    column("closed_at", UtcDateTime, "Left, or declared dead", null=True),
    Index(None, "closed_at", "alive_until"),
    comment="Worker processes and their heartbeats",
    **MYSQL,
)

queue_state = Table(
    "queue_state",
    metadata,
    Column("queue", String(20), primary_key=True, comment="recognition, solo or delivery"),
    column("paused", Boolean, "Nothing is claimed while true"),
    column("scanned_at", UtcDateTime, "Start of the last successful scan", null=True),
    comment="What a queue must remember beyond Redis",
    **MYSQL,
)

system = Table(
    "system",
    metadata,
    Column("code", String(20), primary_key=True, comment="system_code of the tenant"),
    column("weight", Double(), "Share in the fair order"),
    column("max_running", Integer, "Tasks running at once; null = no limit", null=True),
    column("max_waiting", Integer, "Tasks waiting at once; null = no limit", null=True),
    column("fetch_allow", Json, "Private networks this tenant's cameras are in"),
    column("secret", LongBytes, "Callback signing secret, sealed"),
    column("secret_version", Integer, "One more at every rotation"),
    column("old_secret", LongBytes, "Secret before the rotation, sealed", null=True),
    column("old_secret_until", UtcDateTime, "Signs along until then", null=True),
    column("created_at", UtcDateTime, "Added"),
    column("updated_at", UtcDateTime, "Last change of this row"),
    comment="Tenants",
    **MYSQL,
)

api_key = Table(
    "api_key",
    metadata,
    id_column("Snowflake id"),
    column("system_code", String(20), "Tenant; null = operator", null=True),
    column("scope", String(12), "system or admin"),
    column("prefix", String(16), "Beginning of the key, to recognise it by"),
    column("key_sha256", String(64), "Hash of the key", unique=True),
    column("created_at", UtcDateTime, "Made"),
    column("last_used_at", UtcDateTime, "Used", null=True),
    column("revoked_at", UtcDateTime, "Not valid from then on", null=True),
    comment="API keys, hashed",
    **MYSQL,
)

instance_lease = Table(
    "instance_lease",
    metadata,
    Column("instance", SmallInteger, primary_key=True, autoincrement=False, comment="Instance number in ids"),
    column("holder", String(32), "Process that uses the number"),
    column("reserved_until_ms", BigInteger, "Ids below this time may be out; a new holder starts above"),
    comment="Who may make ids under which number",
    **MYSQL,
)
