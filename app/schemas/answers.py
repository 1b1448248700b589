"""What goes out beside the task itself."""

from __future__ import annotations

from datetime import datetime

from pydantic import BaseModel

from app.problems import Problem
from core.catalogue import ModelSpec
from core.domain.delivery import Delivery
from core.domain.wire import TaskView, Timestamp
from core.queue.lease import QueueStats
from core.store.delivery_log import LoggedTry
from core.store.workers import Worker


class TaskPage(BaseModel):
    """One page of tasks, newest first."""

    items: list[TaskView]
    next_page_token: str | None


class BatchItem(BaseModel):
    """What came of one task of a batch."""

    status: int
    task: TaskView | None = None
    problem: Problem | None = None


class BatchView(BaseModel):
    """What came of a batch, in the order of the request."""

    items: list[BatchItem]


class UploadView(BaseModel):
    """A picture that was taken in; its url is good as `image_url`."""

    url: str
    expires_at: Timestamp


class ModelView(BaseModel):
    """A model and what it can be asked for."""

    name: str
    prompts: tuple[str, ...]
    labels: tuple[str, ...]
    default_min_score: float
    default_for: list[str]

    @classmethod
    def of(cls, spec: ModelSpec, shifts: list[str]) -> ModelView:
        """The view of a model that the named shifts use."""
        return cls(
            name=spec.name,
            prompts=spec.prompts,
            labels=spec.labels,
            default_min_score=spec.default_min_score,
            default_for=shifts,
        )


class ModelList(BaseModel):
    """All installed models."""

    items: list[ModelView]


class WorkerView(BaseModel):
    """A worker that lives."""

    id: str
    host: str
    pid: int
    version: str
    models: tuple[str, ...]
    slots: int
    tasks: int
    last_seen_at: Timestamp | None

    @classmethod
    def of(cls, worker: Worker) -> WorkerView:
        """The view of a worker."""
        return cls(**{name: getattr(worker, name) for name in cls.model_fields})


class WorkerList(BaseModel):
    """The workers that live."""

    items: list[WorkerView]


class SystemStats(BaseModel):
    """One system's share of a queue."""

    waiting: int
    running: int


class QueueStatsView(BaseModel):
    """How deep a queue is."""

    waiting: int
    ready: int
    delayed: int
    parked: int
    running: int
    paused: bool
    ended_per_second: float | None
    eta_seconds: float | None
    systems: dict[str, SystemStats]

    @classmethod
    def of(cls, stats: QueueStats, system_code: str | None = None) -> QueueStatsView:
        """The view of a queue; a system sees its own share only."""
        rate = stats.ended_per_second
        return cls(
            waiting=stats.waiting,
            ready=stats.ready,
            delayed=stats.delayed,
            parked=stats.parked,
            running=stats.leased,
            paused=stats.paused,
            ended_per_second=rate,
            eta_seconds=round(stats.waiting / rate, 1) if rate else None,
            systems={
                flow: SystemStats(waiting=counts.waiting, running=counts.running)
                for flow, counts in stats.flows.items()
                if system_code in (None, flow)
            },
        )


class StatsView(BaseModel):
    """The service at one moment; `waiting` and `running` are tasks, what a KEDA scaler reads."""

    waiting: int
    running: int
    oldest_age_seconds: float
    queues: dict[str, QueueStatsView]


class TryView(BaseModel):
    """One POST of a delivery."""

    attempt: int
    at: Timestamp
    duration_ms: float
    status_code: int | None
    error: str | None
    reply: str | None = None


class DeliveryView(BaseModel):
    """The promise of one callback."""

    id: str
    task_id: str
    system_code: str
    event: str
    host: str
    status: str
    tries: int
    created_at: Timestamp | None
    delivered_at: Timestamp | None
    next_attempt_at: Timestamp | None
    error: str | None
    attempts: list[TryView] | None = None

    @classmethod
    def of(
        cls, sent: Delivery, log: list[LoggedTry] | None = None, *, with_replies: bool = False
    ) -> DeliveryView:
        """The view of a delivery; replies are for operators."""
        tries = None if log is None else [_try(one, with_replies) for one in log]
        as_is = ("system_code", "event", "host", "tries", "created_at", "delivered_at", "next_attempt_at")
        return cls(
            id=str(sent.id),
            task_id=str(sent.task_id),
            status=sent.status.value,
            error=sent.error_code,
            attempts=tries,
            **{name: getattr(sent, name) for name in as_is},
        )


class DeliveryPage(BaseModel):
    """One page of deliveries, newest first."""

    items: list[DeliveryView]
    next_page_token: str | None


class HealthView(BaseModel):
    """Whether the process serves, and what is wrong."""

    status: str
    reasons: list[str] = []


def _try(one: LoggedTry, with_replies: bool) -> TryView:
    at: datetime = one.at
    return TryView(
        attempt=one.attempt,
        at=at,
        duration_ms=one.duration_ms,
        status_code=one.status_code,
        error=one.error_code,
        reply=one.reply if with_replies else None,
    )
