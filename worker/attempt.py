"""An attempt in hand, and all that this worker holds."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterator
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
    work: asyncio.Task[None] | None = None

    @property
    def token(self) -> str:
        """The claim token: the right to write to the row."""
        return self.lease.token

    def stop(self, reason: StopReason) -> None:
        """Stop the work, its child processes included; the first reason counts, LOST above all."""
        if self.stop_reason is None and self.work is not None:
            self.work.cancel()
        if self.stop_reason is None or reason is StopReason.LOST:
            self.stop_reason = reason


class Holdings:
    """What this worker holds: tokens from before the start statement on, attempts from the start on."""

    def __init__(self) -> None:
        self._tokens: dict[int, str] = {}
        self._attempts: dict[int, Attempt] = {}
        self._cancelled: dict[int, int] = {}

    def note(self, task_id: int, token: str) -> None:
        """Remember a token before the row can know it."""
        self._tokens[task_id] = token

    def hold(self, attempt: Attempt) -> None:
        """Remember an attempt that has begun; it may have been cancelled before this was known here."""
        self._attempts[attempt.task.id] = attempt
        if self._cancelled.pop(attempt.task.id, None) == attempt.task.attempt:
            attempt.stop(StopReason.CANCELLED)

    def cancel(self, task_id: int, attempt: int) -> None:
        """Stop that attempt of a task, if it is held or about to be."""
        held = self._attempts.get(task_id)
        if held is not None and held.task.attempt == attempt:
            held.stop(StopReason.CANCELLED)
        elif held is None and task_id in self._tokens:
            self._cancelled[task_id] = attempt

    def forget(self, task_id: int, token: str) -> None:
        """Let go of a task, unless it is held under a newer token."""
        if self._tokens.get(task_id) == token:
            del self._tokens[task_id]
            self._attempts.pop(task_id, None)
            self._cancelled.pop(task_id, None)

    def forget_claim(self, token: str) -> None:
        """Let go of every task of one claim."""
        for task_id in [task_id for task_id, noted in self._tokens.items() if noted == token]:
            self.forget(task_id, token)

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


class Carriers:
    """What carries attempts and deliveries to their ends, in the worker's task group."""

    def __init__(self, group: asyncio.TaskGroup) -> None:
        self._group = group
        self._running: set[asyncio.Task[None]] = set()

    def start(self, carry: Coroutine[object, object, None]) -> None:
        """Carry one."""
        carrier = self._group.create_task(carry)
        self._running.add(carrier)
        carrier.add_done_callback(self._running.discard)

    async def end(self, limit_seconds: float) -> None:
        """Cancel those that are left and wait until they have gone."""
        for carrier in self._running:
            carrier.cancel()
        if self._running:
            await asyncio.wait(self._running, timeout=limit_seconds)
