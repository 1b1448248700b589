"""Where things go: which queue, which flow, which model; derived from values alone."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime, time
from enum import StrEnum

from core.domain.delivery import Delivery
from core.domain.task import Task


class QueueName(StrEnum):
    """The three queues."""

    RECOGNITION = "recognition"
    SOLO = "solo"
    DELIVERY = "delivery"


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """An entry of a queue, `<id>:<attempt to make>:<priority>:<cost>:<flow>`, derived from a row."""

    id: int
    attempt: int
    priority: int
    cost: int
    flow: str

    def __str__(self) -> str:
        return f"{self.id}:{self.attempt}:{self.priority}:{self.cost}:{self.flow}"

    @classmethod
    def parse(cls, text: str) -> Member:
        """Read a member back; raises ValueError when it is not one."""
        identity, attempt, priority, cost, flow = text.split(":", 4)
        return cls(id=int(identity), attempt=int(attempt), priority=int(priority), cost=int(cost), flow=flow)


def queue_of(*, crashes: int) -> QueueName:
    """A task that has lost a worker runs alone (queue `solo`) until it ends."""
    return QueueName.SOLO if crashes > 0 else QueueName.RECOGNITION


def member_of_task(task: Task) -> Member:
    """The entry for the task's next attempt."""
    return Member(
        id=task.id, attempt=task.attempt + 1, priority=task.priority, cost=task.cost, flow=task.system_code
    )


def member_of_delivery(delivery: Delivery) -> Member:
    """The entry for the delivery's next attempt; all deliveries have one priority and cost 1."""
    return Member(id=delivery.id, attempt=delivery.attempt + 1, priority=0, cost=1, flow=delivery.flow)


def flow_of_host(host: str) -> str:
    """A host's flow in the delivery queue: the first 12 hex digits of the sha256 of its lower-case name."""
    return hashlib.sha256(host.lower().encode()).hexdigest()[:12]


@dataclass(frozen=True, slots=True, kw_only=True)
class Shift:
    """A span of the day, `[start, end)` local time, and its model; may pass midnight."""

    name: str
    start: time
    end: time
    model: str

    def covers(self, moment: time) -> bool:
        """Whether `moment` lies in this shift."""
        if self.start <= self.end:
            return self.start <= moment < self.end
        return moment >= self.start or moment < self.end


def model_at(local: datetime, shifts: tuple[Shift, ...], fallback: str) -> str:
    """The model whose shift covers the local time of day; `fallback` when none does."""
    return next((s.model for s in shifts if s.covers(local.time())), fallback)
