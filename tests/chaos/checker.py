"""Reads the history of a run and names every promise that was broken.

The rules lean on numbers of attempts and not on times: the rows of one task come from many processes.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator

from tests.chaos.history import Breach, DeliveryRow, EventRow, History, Rule, TaskRow, TryRow, group

FINAL = ("completed", "failed", "cancelled", "expired")
POISON_DEATHS = 3
KILLED = -9
Told = Iterator[tuple[Rule, str]]


def check(history: History) -> list[Breach]:
    """Name every breach."""
    events, promised = group(history.events, "task_id"), group(history.deliveries, "task_id")
    told = [*_accepted(history), *_received(history), *_surroundings(history)]
    for row in history.tasks:
        own = [*_attempts(row, events[row.id]), *_ends(row, events[row.id]), *_deaths(row, history.poison)]
        told += [(rule, f"task {row.id}: {what}") for rule, what in (*own, *_promised(row, promised[row.id]))]
    tries = group(history.tries, "delivery_id")
    for sent in history.deliveries:
        told += [(rule, f"delivery {sent.id}: {what}") for rule, what in _tried(sent, tries[sent.id])]
    return [Breach(rule=rule, what=what) for rule, what in told]


def _accepted(history: History) -> Told:
    rows = {row.id: row for row in history.tasks}
    keys = Counter(row.idempotency_key for row in history.tasks)
    for key, ids in history.accepted.items():
        if not ids:
            yield Rule.ACCEPTED, f"key {key}: never accepted"
        if len(ids) > 1 or keys[key] > 1:
            yield Rule.ONE_TASK, f"key {key}: answered with {sorted(ids)}, {keys[key]} rows"
        for lost in sorted(i for i in ids if i not in rows or rows[i].idempotency_key != key):
            yield Rule.ACCEPTED, f"key {key}: task {lost} is not there"


def _attempts(row: TaskRow, events: list[EventRow]) -> Told:
    starts = Counter(e.attempt for e in events if (e.from_status, e.to_status) == ("pending", "in_progress"))
    leaves = Counter(e.attempt for e in events if e.from_status == "in_progress" != e.to_status)
    if twice := [attempt for attempt, times in starts.items() if times > 1]:
        yield Rule.ONE_START, f"attempts {twice} were started more than once"
    if set(starts) != set(range(1, row.attempt + 1)):
        yield Rule.NO_GAPS, f"the row says {row.attempt} attempts, started were {sorted(starts)}"
    over = [attempt for attempt in starts if attempt < row.attempt or row.status != "in_progress"]
    if endless := [attempt for attempt in over if not leaves[attempt]]:
        yield Rule.NO_GAPS, f"attempts {endless} were started and not ended"
    if again := [attempt for attempt, times in leaves.items() if times > 1]:
        yield Rule.ONE_END, f"attempts {again} ended more than once"


def _ends(row: TaskRow, events: list[EventRow]) -> Told:
    ends = [(event.to_status, event.attempt) for event in events if event.to_status in FINAL]
    is_over = row.status in FINAL
    if not is_over:
        yield Rule.ENDED, f"is {row.status} at attempt {row.attempt}"
    if len(ends) != row.series - (not is_over):
        yield Rule.ONE_END, f"is {row.status} in series {row.series} and has the ends {ends}"
    elif is_over and (row.status, row.attempt) not in ends:
        yield Rule.ONE_END, f"is {row.status} at attempt {row.attempt} and has the ends {ends}"


def _deaths(row: TaskRow, poison: set[str]) -> Told:
    found = (row.status, row.error_code, row.crashes)
    if row.idempotency_key not in poison:
        if row.error_code == "worker_lost":
            yield Rule.INNOCENT, f"failed after {row.crashes} deaths"
    elif row.status in FINAL and found != ("failed", "worker_lost", POISON_DEATHS):
        yield Rule.POISON, f"{row.status} {row.error_code} after {row.crashes} deaths"


def _promised(row: TaskRow, promised: list[DeliveryRow]) -> Told:
    told = [sent for sent in promised if (sent.event, sent.series) == (f"task.{row.status}", row.series)]
    if row.status in FINAL and len(told) != 1:
        yield Rule.DELIVERED, f"is {row.status} and has {len(told)} deliveries of it"
    if early := [sent.event for sent in promised if row.status not in FINAL and sent.event[5:] in FINAL]:
        yield Rule.DELIVERED, f"is {row.status} and promised {early}"


def _tried(sent: DeliveryRow, tries: list[TryRow]) -> Told:
    if sent.status != "delivered":
        yield Rule.DELIVERED, f"is {sent.status} after {sent.tries} tries"
    if sorted(made.attempt for made in tries) != list(range(1, sent.tries + 1)):
        yield Rule.TRIES, f"made {sent.tries} tries, noted {sorted(made.attempt for made in tries)}"
    good = [made.attempt for made in tries if made.error_code is None]
    if good != ([sent.tries] if sent.status == "delivered" else []):
        yield Rule.TRIES, f"is {sent.status} after {sent.tries} tries, of which {good} succeeded"


def _received(history: History) -> Told:
    effects, bodies = Counter[tuple[int, str]](), defaultdict[int, set[str]](set)
    rows = {sent.id: sent for sent in history.deliveries}
    for post in history.posts:
        bodies[post.webhook_id].add(post.body_sha256)
        effects[post.task_id, post.event] += post.is_effect
    for (task_id, event), times in effects.items():
        if times > 1 and event != "task.image":  # of these there is one for each picture
            yield Rule.ONE_EFFECT, f"task {task_id}: {event} had {times} effects"
    for webhook_id, came in bodies.items():
        if len(came) > 1:
            yield Rule.SAME_BYTES, f"delivery {webhook_id} came with {len(came)} bodies"
        if webhook_id not in rows:
            yield Rule.DELIVERED, f"delivery {webhook_id} came and is not in the database"
    for sent in rows.values():
        if sent.status == "delivered" and sent.id not in bodies:
            yield Rule.DELIVERED, f"delivery {sent.id} is delivered, and no receiver has it"


def _surroundings(history: History) -> Told:
    for what in history.refused:
        yield Rule.ANSWERS, what
    if not history.is_whole:
        yield Rule.WHOLE, "a queue has no epoch, or is still being rebuilt"
    if history.left:
        yield Rule.WHOLE, f"left in Redis: {history.left}"
    if history.unsigned:
        yield Rule.SIGNED, f"{history.unsigned} were not"
    for status, times in history.exits.items():
        if status != KILLED:
            yield Rule.ALIVE, f"{times} ended with status {status}"
    for error, times in history.errors.items():
        yield Rule.CALM, f"{times} times {error}"
