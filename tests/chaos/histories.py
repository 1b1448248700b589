"""A history made by hand in which every promise was kept, and the pieces it is made of."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

from tests.chaos.history import DeliveryRow, EventRow, History, Post, TaskRow, TryRow

GOOD, POISON = 1, 2
SENT = {GOOD: 10, POISON: 20}


def event(task_id: int, from_status: str | None, to_status: str, attempt: int, why: str = "") -> EventRow:
    return EventRow(
        task_id=task_id, from_status=from_status, to_status=to_status, attempt=attempt, why=why or to_status
    )


def ended(task_id: int, status: str, attempt: int, crashes: int = 0, error: str | None = None) -> TaskRow:
    return TaskRow(
        id=task_id,
        idempotency_key=f"key-{task_id}",
        status=status,
        attempt=attempt,
        failures=0,
        crashes=crashes,
        series=1,
        error_code=error,
    )


def runs(task_id: int, *leaves: str) -> list[EventRow]:
    """Give the history of a task whose attempts led to these states."""
    found = [event(task_id, None, "pending", 0, "submitted")]
    for attempt, to_status in enumerate(leaves, 1):
        found.append(event(task_id, "pending", "in_progress", attempt))
        found.append(event(task_id, "in_progress", to_status, attempt))
    return found


def delivery(task_id: int, event_type: str, tries: int = 1) -> DeliveryRow:
    return DeliveryRow(
        id=SENT[task_id],
        task_id=task_id,
        series=1,
        event=event_type,
        status="delivered",
        tries=tries,
        attempt=tries,
        crashes=0,
    )


def noted(delivery_id: int, attempt: int = 1, error: str | None = None) -> TryRow:
    return TryRow(delivery_id=delivery_id, attempt=attempt, status_code=204, error_code=error)


def post(task_id: int, event_type: str, webhook_id: int | None = None, **changes: Any) -> Post:
    sent = Post(
        webhook_id=webhook_id or SENT[task_id],
        task_id=task_id,
        event=event_type,
        body_sha256="bytes",
        is_effect=True,
    )
    return replace(sent, **changes)


def flawless() -> History:
    """Give a task that was put back once, its callback that came twice, and one that was poison."""
    return History(
        accepted={"key-1": {GOOD}, "key-2": {POISON}},
        poison={"key-2"},
        exits=Counter({-9: 3}),
        tasks=[ended(GOOD, "completed", 2), ended(POISON, "failed", 3, crashes=3, error="worker_lost")],
        events=[*runs(GOOD, "pending", "completed"), *runs(POISON, "pending", "pending", "failed")],
        deliveries=[delivery(GOOD, "task.completed", tries=2), delivery(POISON, "task.failed")],
        tries=[noted(10, 1, "callback_http_status"), noted(10, 2), noted(20)],
        posts=[
            post(GOOD, "task.completed"),
            post(GOOD, "task.completed", is_effect=False),
            post(POISON, "task.failed"),
        ],
    )
