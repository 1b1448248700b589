"""What a delivery is: the promise of one callback, kept until it is received or given up."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class DeliveryStatus(StrEnum):
    """The states of a delivery; `dead` and `refused` are kept and can be replayed."""

    PENDING = "pending"
    SENDING = "sending"
    DELIVERED = "delivered"
    DEAD = "dead"
    REFUSED = "refused"

    @property
    def is_final(self) -> bool:
        """Whether nothing more is sent by itself."""
        return self not in (DeliveryStatus.PENDING, DeliveryStatus.SENDING)


class EventType(StrEnum):
    """What a callback can tell."""

    STARTED = "task.started"
    IMAGE = "task.image"
    COMPLETED = "task.completed"
    FAILED = "task.failed"
    CANCELLED = "task.cancelled"
    EXPIRED = "task.expired"


DEFAULT_EVENTS: tuple[str, ...] = (
    EventType.COMPLETED,
    EventType.FAILED,
    EventType.CANCELLED,
    EventType.EXPIRED,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """One promised callback, as its row tells it."""

    id: int
    task_id: int
    system_code: str
    event: str
    url: str
    host: str
    flow: str
    body: bytes
    series: int = 1
    recognition_id: int = 0
    status: DeliveryStatus = DeliveryStatus.PENDING
    attempt: int = 0
    tries: int = 0
    """POSTs that were really made and count against the schedule; `attempt` also counts lost leases."""
    crashes: int = 0
    next_attempt_at: datetime | None = None
    delivered_at: datetime | None = None
    created_at: datetime | None = None
    error_code: str | None = None
    traceparent: str | None = None
    """W3C trace context of the submission; sent along on every try."""

    def __repr__(self) -> str:
        return f"<Delivery {self.id} {self.status} attempt={self.attempt} event={self.event}>"


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryTry:
    """What came of one POST."""

    status_code: int | None
    duration_ms: float
    error_code: str | None = None
    retry_after_seconds: float | None = None
    reply: str = ""
    """At most 1 KiB of the answer, for operators."""
