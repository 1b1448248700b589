"""What a task is, the states it can be in and the table of allowed changes."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from core.domain.recognition import ErrorNote, Recognition, RecognitionStatus


class TaskStatus(StrEnum):
    """The states of a task."""

    PENDING = "pending"
    IN_PROGRESS = "in_progress"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    EXPIRED = "expired"

    @property
    def is_final(self) -> bool:
        """Whether only a retry by its owner leads out of this state."""
        return self not in (TaskStatus.PENDING, TaskStatus.IN_PROGRESS)


class Actor(StrEnum):
    """Who may change a task's state."""

    API = "api"
    WORKER = "worker"
    REAPER = "reaper"
    RECONCILER = "reconciler"


class CallbackShape(StrEnum):
    """The body of a task's callbacks: Standard Webhooks events, or the envelope profile."""

    EVENT = "event"
    ENVELOPE = "envelope"


@dataclass(frozen=True, slots=True, kw_only=True)
class Transition:
    """One allowed change of state: by whom, on what condition, and why it happens."""

    source: TaskStatus
    target: TaskStatus
    actors: frozenset[Actor]
    guard: str
    why: str


def _allow(source: TaskStatus, target: TaskStatus, actors: set[Actor], guard: str, why: str) -> Transition:
    return Transition(source=source, target=target, actors=frozenset(actors), guard=guard, why=why)


_P, _R = TaskStatus.PENDING, TaskStatus.IN_PROGRESS
_MINE = "attempt = n and claim token is mine"
_LOST = "attempt = n and its worker is closed, or deadline_at + 30 s has passed"

TRANSITIONS: tuple[Transition, ...] = (
    _allow(
        _P,
        _R,
        {Actor.WORKER},
        "attempt = n - 1, not cancelled, not expired, worker row open",
        "attempt starts",
    ),
    _allow(_R, _R, {Actor.WORKER}, _MINE, "a picture ended, others are open"),
    _allow(_R, _R, {Actor.API}, "in progress", "cancel requested"),
    _allow(_R, TaskStatus.COMPLETED, {Actor.WORKER}, _MINE, "every picture ended, at least one succeeded"),
    _allow(_R, TaskStatus.FAILED, {Actor.WORKER}, _MINE, "no picture succeeded"),
    _allow(_R, _P, {Actor.WORKER}, f"{_MINE}, not cancel_requested", "transient error, or drained"),
    _allow(_R, _P, {Actor.REAPER, Actor.RECONCILER}, f"{_LOST}, not cancel_requested", "worker lost"),
    _allow(_R, TaskStatus.FAILED, {Actor.REAPER, Actor.RECONCILER}, _LOST, "worker lost too often"),
    _allow(_P, TaskStatus.CANCELLED, {Actor.API}, "pending", "cancelled by its caller, or superseded"),
    _allow(_R, TaskStatus.CANCELLED, {Actor.WORKER}, f"{_MINE}, cancel_requested", "stopped on request"),
    _allow(
        _R,
        TaskStatus.CANCELLED,
        {Actor.REAPER, Actor.RECONCILER},
        f"{_LOST}, cancel_requested",
        "stopped on request",
    ),
    _allow(
        _P,
        TaskStatus.EXPIRED,
        {Actor.RECONCILER},
        "never started, queue_expires_at passed",
        "waited too long",
    ),
    _allow(TaskStatus.FAILED, _P, {Actor.API}, "failed", "retried by its owner"),
    _allow(TaskStatus.CANCELLED, _P, {Actor.API}, "cancelled", "retried by its owner"),
    _allow(TaskStatus.EXPIRED, _P, {Actor.API}, "expired", "retried by its owner"),
)


def may_change(source: TaskStatus, target: TaskStatus, actor: Actor) -> bool:
    """Tell whether `actor` may ever move a task from `source` to `target`."""
    return any(t.source is source and t.target is target and actor in t.actors for t in TRANSITIONS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One request for recognition, as its row tells it. Times are aware UTC."""

    id: int
    system_code: str
    business_id: str
    prompt: str
    status: TaskStatus = TaskStatus.PENDING
    priority: int = 5
    timeout_seconds: int = 60
    queue_ttl_seconds: int = 86400
    model: str | None = None
    min_score: float | None = None
    callback_url: str | None = None
    callback_events: tuple[str, ...] = ()
    callback_shape: CallbackShape = CallbackShape.EVENT
    metadata: dict[str, Any] = field(default_factory=dict)
    client_id: str | None = None
    idempotency_key: str | None = None
    request_sha256: str = ""
    dedup_key: str | None = None
    dedup_mode: str | None = None
    traceparent: str | None = None
    cost: int = 1
    attempt: int = 0
    failures: int = 0
    crashes: int = 0
    series: int = 1
    worker_id: str | None = None
    claim_token: str | None = None
    cancel_requested: bool = False
    error: ErrorNote | None = None
    created_at: datetime | None = None
    started_at: datetime | None = None
    completed_at: datetime | None = None
    next_attempt_at: datetime | None = None
    queue_expires_at: datetime | None = None
    deadline_at: datetime | None = None
    updated_at: datetime | None = None
    recognitions: tuple[Recognition, ...] = ()

    @property
    def is_final(self) -> bool:
        """Whether the task has ended."""
        return self.status.is_final

    @property
    def images_total(self) -> int:
        """How many pictures were asked for."""
        return len(self.recognitions) or self.cost

    @property
    def images_completed(self) -> int:
        """How many pictures were recognised."""
        return sum(r.status is RecognitionStatus.COMPLETED for r in self.recognitions)

    @property
    def images_failed(self) -> int:
        """How many pictures failed."""
        return sum(r.status is RecognitionStatus.FAILED for r in self.recognitions)

    @property
    def task_num(self) -> int:
        """The sum of what was counted over the recognised pictures."""
        return sum(r.findings.total for r in self.recognitions if r.findings is not None)

    @property
    def duration_ms(self) -> float | None:
        """Milliseconds from first start to end; None while either is missing."""
        if self.started_at is None or self.completed_at is None:
            return None
        return (self.completed_at - self.started_at).total_seconds() * 1000

    def __repr__(self) -> str:
        return f"<Task {self.id} {self.status} attempt={self.attempt}>"
