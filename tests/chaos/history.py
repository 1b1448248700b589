"""What a run leaves behind: rows of the database, answers that callers got, POSTs that receivers got."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from inspect import get_annotations
from typing import TypeVar

from sqlalchemy import Table, select

from core.store.engine import Database
from core.store.tables import delivery, delivery_attempt, task, task_event

T = TypeVar("T")


class Rule(StrEnum):
    """The promises that a run is held to."""

    ACCEPTED = "what was accepted is in the database"
    ONE_TASK = "one Idempotency-Key makes one task"
    ENDED = "every task ends"
    ONE_START = "one start per attempt"
    NO_GAPS = "attempts without gaps, each ended before the next"
    ONE_END = "one end, and nothing after it"
    DELIVERED = "every end is delivered"
    TRIES = "every try is noted, and the last one succeeded"
    ONE_EFFECT = "one effect per end at a receiver that dedupes by webhook-id"
    SAME_BYTES = "the same bytes on every try"
    POISON = "poison ends after exactly 3 deaths"
    INNOCENT = "no innocent task ends as worker_lost"
    WHOLE = "a lost Redis is noticed: the plan is whole at the end, and nothing is left in it"
    ANSWERS = "callers get an id or are asked to come again"
    SIGNED = "every callback is signed"
    ALIVE = "no process ends by itself"
    CALM = "no process meets an error that it does not know"


@dataclass(frozen=True, slots=True, kw_only=True)
class Breach:
    """A promise that was broken, and by what."""

    rule: Rule
    what: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskRow:
    """A task as its row says at the end."""

    id: int
    idempotency_key: str | None
    status: str
    attempt: int
    failures: int
    crashes: int
    series: int
    error_code: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class EventRow:
    """One change of a task's state."""

    task_id: int
    from_status: str | None
    to_status: str
    attempt: int
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryRow:
    """A promised callback as its row says at the end."""

    id: int
    task_id: int
    series: int
    event: str
    status: str
    tries: int
    attempt: int
    crashes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TryRow:
    """One POST as the service noted it."""

    delivery_id: int
    attempt: int
    status_code: int | None
    error_code: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Post:
    """One POST as a receiver saw it; `is_effect` = the receiver acted on it, as its webhook-id was new."""

    webhook_id: int
    task_id: int
    event: str
    body_sha256: str
    is_effect: bool


@dataclass(slots=True, kw_only=True)
class History:
    """Everything the checker reads."""

    accepted: dict[str, set[int]] = field(default_factory=dict)
    """By Idempotency-Key the ids that 2xx answers named."""
    poison: set[str] = field(default_factory=set)
    """Keys of tasks whose picture kills the worker that looks at it."""
    tasks: list[TaskRow] = field(default_factory=list)
    events: list[EventRow] = field(default_factory=list)
    deliveries: list[DeliveryRow] = field(default_factory=list)
    tries: list[TryRow] = field(default_factory=list)
    posts: list[Post] = field(default_factory=list)
    unsigned: int = 0
    """POSTs whose signature was wrong."""
    refused: list[str] = field(default_factory=list)
    """Answers that no caller can do anything with."""
    exits: Counter[int] = field(default_factory=Counter)
    """How often a process ended with which status; -9 = killed."""
    errors: Counter[str] = field(default_factory=Counter)
    """How often which error was logged."""
    is_whole: bool = True
    """Whether every queue has its epoch at the end."""
    left: dict[str, int] = field(default_factory=dict)
    """What stands in Redis at the end, by place."""


async def read_rows(db: Database, history: History) -> None:
    """Fill in what the database says."""
    history.tasks = await _read(db, task, TaskRow)
    history.events = await _read(db, task_event, EventRow)
    history.deliveries = await _read(db, delivery, DeliveryRow)
    history.tries = await _read(db, delivery_attempt, TryRow)


async def _read(db: Database, table: Table, kind: type[T]) -> list[T]:
    names = list(get_annotations(kind))
    async with db.read() as connection:
        rows = await connection.execute(select(*(table.c[name] for name in names)).order_by(table.c.id))
        return [kind(**row) for row in rows.mappings()]


def group(rows: Sequence[T], name: str) -> dict[int, list[T]]:
    """Group rows by a field."""
    grouped: dict[int, list[T]] = defaultdict(list)
    for row in rows:
        grouped[getattr(row, name)].append(row)
    return grouped
