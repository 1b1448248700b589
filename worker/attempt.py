"""An attempt in hand, and all that this worker holds."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from core.domain.routing import QueueName
from core.domain.task import Task
from core.queue.lease import Lease


class StopReason(StrEnum):
    """Why an attempt is stopped before its end."""

    CANCELLED = "cancelled"
    DRAINED = "drained"
    LOST = "lost"
    """The row is another's now: nothing may be written."""


@dataclass(slots=True, kw_only=True)
class Attempt:
    """One start of a task by this worker."""

    task: Task
    lease: Lease
    queue: QueueName
    stop_reason: StopReason | None = None
    work: asyncio.Task[object] | None = None

    @property
    def token(self) -> str:
        """The claim token: the right to write to the row."""
        return self.lease.token

    def stop(self, reason: StopReason) -> None:
        """Stop the work, its child processes included; the first reason counts."""
        if self.stop_reason is None:
            self.stop_reason = reason
            if self.work is not None:
                self.work.cancel()


class Holdings:
    """What this worker holds: tokens from before the start statement on, attempts from the start on."""

    def __init__(self) -> None:
        self._tokens: dict[int, str] = {}
        self._attempts: dict[int, Attempt] = {}

    def note(self, task_id: int, token: str) -> None:
        """Remember a token before the row can know it."""
        self._tokens[task_id] = token

    def hold(self, attempt: Attempt) -> None:
        """Remember an attempt that has begun."""
        self._attempts[attempt.task.id] = attempt

    def forget(self, task_id: int, token: str) -> None:
        """Let go of a task, unless it is held under a newer token."""
        if self._tokens.get(task_id) == token:
            del self._tokens[task_id]
            self._attempts.pop(task_id, None)

    def token_of(self, task_id: int) -> str | None:
        """The token noted for a task."""
        return self._tokens.get(task_id)

    def find(self, task_id: int) -> Attempt | None:
        """The attempt of a task."""
        return self._attempts.get(task_id)

    def __iter__(self) -> Iterator[Attempt]:
        return iter(list(self._attempts.values()))

    def __len__(self) -> int:
        return len(self._attempts)
