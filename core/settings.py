"""Every setting, in one frozen tree; the only module that reads the environment.

A group is a small value that a factory hands to the part that needs it. `MUSTER_DATABASE_URL`
sets `database.url`; `muster settings` prints the table of all of them.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import time
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from core.domain.routing import Shift
from core.errors import SettingsError

CommaSeparated = Annotated[tuple[str, ...], NoDecode]


class _Group(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


def _split(value: Any) -> Any:
    if isinstance(value, str):
        return tuple(part.strip() for part in value.split(",") if part.strip())
    return value


class DatabaseSettings(_Group):
    """The database, where the truth is."""

    url: str = Field(
        "sqlite+aiosqlite:///.muster/muster.db",
        description="SQLAlchemy url: sqlite+aiosqlite, mysql+asyncmy or postgresql+asyncpg",
    )
    pool_size: int = Field(10, ge=1, le=500, description="Connections kept per process")
    pool_timeout_seconds: float = Field(2.0, gt=0, description="Wait for a free connection")
    connect_timeout_seconds: float = Field(2.0, gt=0, description="Time to open a connection")
    statement_timeout_seconds: float = Field(10.0, gt=0, description="Time for one transaction")
    recycle_seconds: int = Field(1800, ge=1, description="Age at which a connection is replaced")


class RedisSettings(_Group):
    """Redis or Valkey, where the plan is."""

    url: str = Field("redis://127.0.0.1:6379/0", description="redis://, rediss:// or unix:// url")
    namespace: str = Field("mst", pattern=r"^[A-Za-z0-9_-]{1,16}$", description="First part of every key")
    timeout_seconds: float = Field(2.0, gt=0, description="Time for one command")
    pool_size: int = Field(32, ge=2, le=1000, description="Connections kept per process")


class QueueSettings(_Group):
    """Leases, budgets and fair order."""

    lease_seconds: float = Field(15.0, ge=1, description="A worker silent this long has lost its tasks")
    aging_seconds: float = Field(300.0, gt=0, description="Waiting time after which a task moves up a band")
    max_failures: int = Field(3, ge=1, description="Failed runs before a task is given up")
    max_crashes: int = Field(3, ge=1, description="Lost workers before a task is given up")
    scan_seconds: float = Field(3.0, gt=0, description="How often changed rows are compared with Redis")
    sweep_seconds: float = Field(
        600.0, gt=0, description="How often all waiting rows are compared with Redis"
    )


class IntakeSettings(_Group):
    """What is accepted."""

    max_body_bytes: int = Field(1_048_576, ge=1024, description="Largest JSON body")
    max_upload_bytes: int = Field(20_000_000, ge=1024, description="Largest uploaded picture")
    max_pending: int = Field(2000, ge=1, description="Requests that may wait for the database at once")
    max_group: int = Field(200, ge=1, description="Requests committed in one transaction at most")
    stalled_seconds: float = Field(
        60.0, gt=0, description="Without a commit or a refusal for so long a web process is not live"
    )


class FetchSettings(_Group):
    """How pictures are fetched and callbacks sent."""

    allow: CommaSeparated = Field(
        (), description="Private networks that may be fetched from, e.g. 192.168.0.0/16"
    )
    ports: CommaSeparated = Field(("80", "443"), description="Ports that may be connected to")
    timeout_seconds: float = Field(20.0, gt=0, description="Time for one picture in all")
    connect_timeout_seconds: float = Field(5.0, gt=0, description="Time to connect")
    max_bytes: int = Field(20_000_000, ge=1024, description="Largest picture")
    per_host: int = Field(8, ge=1, description="Pictures fetched from one host at once, per worker")
    in_flight: int = Field(32, ge=1, description="Pictures fetched at once, per worker")

    _split_lists = field_validator("allow", "ports", mode="before")(_split)


class RecogniseSettings(_Group):
    """Child processes and models."""

    children: int = Field(0, ge=0, le=256, description="Child processes per worker; 0 = one per core")
    threads: int = Field(1, ge=1, le=64, description="Threads of a model in one child")
    timeout_seconds: float = Field(30.0, gt=0, description="Time to decode and recognise one picture")
    memory_bytes: int = Field(2_000_000_000, ge=1_000_000_000, description="Address space of a child")
    recycle_after: int = Field(1000, ge=1, description="Pictures after which a child is replaced")
    annotate: bool = Field(True, description="Save a picture with boxes and areas drawn on it")
    model_path: Path | None = Field(
        None, description="Another model file for ssdlite; empty = the bundled one"
    )
    recognisers: CommaSeparated = Field((), description="More recognisers as module:Class")

    _split_lists = field_validator("recognisers", mode="before")(_split)


class DeliverySettings(_Group):
    """Callbacks."""

    schedule_seconds: tuple[float, ...] = Field(
        (5, 60, 300, 1800, 7200, 18000, 36000, 86400),
        description="Waits between tries; the first try is at once",
    )
    timeout_seconds: float = Field(15.0, gt=0, description="Time for one POST in all")
    connect_timeout_seconds: float = Field(5.0, gt=0, description="Time to connect")
    per_host: int = Field(4, ge=1, description="POSTs in flight per host over all workers")
    slots: int = Field(32, ge=1, description="POSTs in flight per worker")
    max_crashes: int = Field(10, ge=1, description="Lost workers before a delivery is given up")
    breaker_failures: int = Field(5, ge=1, description="Failures in a row after which a host is left alone")
    breaker_seconds: float = Field(30.0, gt=0, description="First pause of a host; doubles up to 10 min")


class WorkerSettings(_Group):
    """The worker process."""

    slots: int = Field(0, ge=0, le=1000, description="Tasks held at once; 0 = four per child process")
    drain_seconds: float = Field(25.0, ge=0, description="Time to finish what is running on SIGTERM")
    host: str = Field("127.0.0.1", description="Address of livez, readyz and metrics")
    port: int = Field(0, ge=0, le=65535, description="Port of livez, readyz and metrics; 0 = none")


class MediaSettings(_Group):
    """Annotated pictures and uploads."""

    dir: Path = Field(Path(".muster/media"), description="Folder for pictures")
    upload_ttl_seconds: int = Field(86400, ge=60, description="How long an upload is kept")
    link_ttl_seconds: int = Field(604800, ge=60, description="How long a link in a callback is good")


class RetentionSettings(_Group):
    """What is kept for how long."""

    completed_days: float = Field(30, gt=0, description="Completed tasks, with pictures and callbacks")
    failed_days: float = Field(90, gt=0, description="Failed tasks")
    cancelled_days: float = Field(30, gt=0, description="Cancelled tasks")
    expired_days: float = Field(30, gt=0, description="Expired tasks")
    worker_days: float = Field(7, gt=0, description="Rows of workers that have left or died")


_SHIFTS = (
    Shift(name="day", start=time(8), end=time(18), model="ssdlite"),
    Shift(name="night", start=time(18), end=time(8), model="ssdlite"),
)


class Settings(BaseSettings):
    """All settings of the service."""

    model_config = SettingsConfigDict(
        env_prefix="MUSTER_", env_nested_delimiter="_", env_nested_max_split=1, frozen=True, extra="ignore"
    )

    embedded: bool = Field(False, description="Set by `muster up`: one machine, loopback allowed")
    auth: Literal["on", "off"] = Field("on", description="Whether an API key is needed")
    allow_insecure: bool = Field(False, description="Allow binding beyond loopback with auth off")
    public_url: str = Field("", description="Address in links; empty = the address the service listens on")
    secret_key: SecretStr | None = Field(
        None, description="Seals secrets at rest and signs links; 32+ characters"
    )
    embedded_webhook_secret: SecretStr | None = Field(
        None, description="Callback secret (whsec_...) of systems added on first use; empty = random ones"
    )
    time_zone: str = Field("UTC", description="Site time zone of capture_time and of day and night")
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="Least level logged")
    test_point: str = Field("", description="For tests, with auth off only: where this process kills itself")
    routing: tuple[Shift, ...] = Field(_SHIFTS, description="Times of day and their models, as JSON")
    database: DatabaseSettings = DatabaseSettings()
    redis: RedisSettings = RedisSettings()
    queue: QueueSettings = QueueSettings()
    intake: IntakeSettings = IntakeSettings()
    fetch: FetchSettings = FetchSettings()
    recognise: RecogniseSettings = RecogniseSettings()
    delivery: DeliverySettings = DeliverySettings()
    worker: WorkerSettings = WorkerSettings()
    media: MediaSettings = MediaSettings()
    retention: RetentionSettings = RetentionSettings()

    @field_validator("time_zone")
    @classmethod
    def _known_zone(cls, name: str) -> str:
        try:
            ZoneInfo(name)
        except (ZoneInfoNotFoundError, ValueError) as error:
            raise ValueError(f"{name!r} is not a time zone; use a name such as Europe/Berlin") from error
        return name

    @field_validator("secret_key")
    @classmethod
    def _long_enough(cls, key: SecretStr | None) -> SecretStr | None:
        if key is not None and len(key.get_secret_value()) < 32:
            raise ValueError("needs at least 32 characters; make one with: openssl rand -hex 32")
        return key

    @cached_property
    def zone(self) -> ZoneInfo:
        """The site's time zone."""
        return ZoneInfo(self.time_zone)

    @property
    def children(self) -> int:
        """Child processes per worker, with the default resolved."""
        return self.recognise.children or os.cpu_count() or 1

    @property
    def slots(self) -> int:
        """Tasks held at once by a worker, with the default resolved."""
        return self.worker.slots or 4 * self.children


def load_settings(**overrides: Any) -> Settings:
    """Read the environment; raises SettingsError that names every wrong variable and why."""
    try:
        return Settings(**overrides)
    except ValidationError as error:
        faults = (
            f"MUSTER_{'_'.join(str(part) for part in fault['loc']).upper()}: {fault['msg']}"
            for fault in error.errors(include_input=False, include_url=False)
        )
        raise SettingsError("; ".join(faults)) from None


def environment_with(variables: Mapping[str, str]) -> dict[str, str]:
    """The environment for a child process: this one's, with some variables replaced."""
    return {**os.environ, **variables}
