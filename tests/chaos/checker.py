"""Reads the history of a run and names every promise that was broken.

The rules lean on numbers of attempts and not on times: rows of one task come from many processes.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

from tests.chaos.history import DeliveryRow, EventRow, History, TaskRow, by_task

FINAL = ("completed", "failed", "cancelled", "expired")
POISON_DEATHS = 3
ACCEPTED = "what was accepted is in the database"
ONE_TASK = "one Idempotency-Key makes one task"
ENDED = "every task ends"
ONE_START = "one start per attempt"
NO_GAPS = "attempts without gaps"
ONE_END = "one end, and nothing after it"
DELIVERED = "every end is delivered"
ONE_EFFECT = "one effect per end at a receiver that dedupes by webhook-id"
SAME_BYTES = "the same bytes on every try"
POISON = f"poison ends after exactly {POISON_DEATHS} deaths"
INNOCENT = "no innocent task ends as worker_lost"
RULES = (
    ACCEPTED, ONE_TASK, ENDED, ONE_START, NO_GAPS, ONE_END, DELIVERED, ONE_EFFECT, SAME_BYTES, POISON, INNOCENT
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Breach:
    """A promise that was broken, and by what."""

    rule: str
    what: str


def check(history: History) -> list[Breach]:
    """Name every breach."""
    events, deliveries = by_task(history.events), by_task(history.deliveries)
    found = [Breach(rule=rule, what=what) for rule, what in _accepted(history)]
    for row in history.tasks:
        told = [*_attempts(row, events[row.id]), *_ends(row, events[row.id]), *_crashes(row, history.poison)]
        told += _promised(row, deliveries[row.id], history)
        found += [Breach(rule=rule, what=f"task {row.id}: {what}") for rule, what in told]
    return found + [Breach(rule=rule, what=what) for rule, what in _received(history)]


def _accepted(history: History) -> Iterator[tuple[str, str]]:
    rows = {row.id: row for row in history.tasks}
    keys = Counter(row.idempotency_key for row in history.tasks)
    for key, ids in history.accepted.items():
        if not ids:
            yield ACCEPTED, f"key {key}: never accepted"
        if len(ids) > 1 or keys[key] > 1:
            yield ONE_TASK, f"key {key}: answered with {sorted(ids)}, {keys[key]} rows"
        for lost in sorted(i for i in ids if i not in rows or rows[i].idempotency_key != key):
            yield ACCEPTED, f"key {key}: task {lost} is not there"


def _attempts(row: TaskRow, events: list[EventRow]) -> Iterator[tuple[str, str]]:
    starts = Counter(e.attempt for e in events if (e.from_status, e.to_status) == ("pending", "in_progress"))
    leaves = Counter(e.attempt for e in events if e.from_status == "in_progress" != e.to_status)
    for attempt, times in sorted(starts.items()):
        if times > 1:
            yield ONE_START, f"attempt {attempt} was started {times} times"
    if set(starts) != set(range(1, row.attempt + 1)):
        yield NO_GAPS, f"the row says {row.attempt} attempts, started were {sorted(starts)}"
    if open_ := [a for a in starts if not leaves[a] and (a < row.attempt or row.status != "in_progress")]:
        yield NO_GAPS, f"attempts {open_} have no end"
    if twice := [a for a, times in leaves.items() if times > 1]:
        yield ONE_END, f"attempts {twice} ended more than once"


def _ends(row: TaskRow, events: list[EventRow]) -> Iterator[tuple[str, str]]:
    ends = [e for e in events if e.to_status in FINAL]
    if row.status not in FINAL:
        yield ENDED, f"is {row.status} at attempt {row.attempt}"
    if len(ends) != row.series - (row.status not in FINAL):
        yield ONE_END, f"is {row.status} and has {len(ends)} ends"
    elif ends and row.status in FINAL:
        if (ends[-1].to_status, ends[-1].attempt) != (row.status, row.attempt):
            yield (
                ONE_END,
                f"{row.status} at attempt {row.attempt}, ended {ends[-1].to_status} {ends[-1].attempt}",
            )


def _crashes(row: TaskRow, poison: set[str]) -> Iterator[tuple[str, str]]:
    is_lost = row.error_code == "worker_lost"
    if row.idempotency_key in poison:
        if row.status in FINAL and (row.status, is_lost, row.crashes) != ("failed", True, POISON_DEATHS):
            yield POISON, f"{row.status} {row.error_code} after {row.crashes} deaths"
    elif is_lost:
        yield INNOCENT, f"worker_lost after {row.crashes} deaths"


def _promised(row: TaskRow, promised: list[DeliveryRow], history: History) -> Iterator[tuple[str, str]]:
    if row.status not in FINAL:
        return
    told = [sent for sent in promised if sent.event == f"task.{row.status}" and sent.series == row.series]
    if len(told) != 1:
        yield DELIVERED, f"{row.status}, with {len(told)} deliveries of it"
    for sent in promised:
        if sent.status != "delivered":
            yield DELIVERED, f"delivery {sent.id} is {sent.status} after {sent.tries} tries"


def _received(history: History) -> Iterator[tuple[str, str]]:
    effects, bytes_of = Counter[tuple[int, str]](), defaultdict(set)
    rows = {sent.id: sent for sent in history.deliveries}
    for post in history.posts:
        bytes_of[post.webhook_id].add(post.body_sha256)
        effects[post.task_id, post.event] += post.is_effect
    for (task_id, event), times in effects.items():
        if times > 1 and event != "task.image":  # of these there is one for each picture
            yield ONE_EFFECT, f"task {task_id}: {event} had {times} effects"
    for webhook_id, bodies in bytes_of.items():
        if len(bodies) > 1:
            yield SAME_BYTES, f"delivery {webhook_id} came with {len(bodies)} bodies"
        if webhook_id not in rows:
            yield DELIVERED, f"delivery {webhook_id} came and is not in the database"
    for sent in rows.values():
        if sent.status == "delivered" and not effects[sent.task_id, sent.event]:
            yield DELIVERED, f"delivery {sent.id} is delivered, and no receiver has it"
