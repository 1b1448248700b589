"""For every rule of the checker, ways to break it in a history that is flawless otherwise."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from tests.chaos.histories import GOOD, POISON, delivery, event, noted, post, runs
from tests.chaos.history import History, Rule


def change_task(history: History, task_id: int, **changes: Any) -> None:
    history.tasks = [replace(row, **changes) if row.id == task_id else row for row in history.tasks]


def change_delivery(history: History, **changes: Any) -> None:
    history.deliveries[0] = replace(history.deliveries[0], **changes)


def forget_task(history: History) -> None:
    del history.tasks[0]


def never_accept(history: History) -> None:
    history.accepted["key-3"] = set()


def answer_with_two_ids(history: History) -> None:
    history.accepted["key-1"].add(POISON)


def store_twice(history: History) -> None:
    history.tasks.append(replace(history.tasks[0], id=3))
    history.events += runs(3, "pending", "completed")
    history.deliveries.append(replace(delivery(GOOD, "task.completed"), id=30, task_id=3))
    history.tries.append(noted(30))
    history.posts.append(post(3, "task.completed", 30))


def stay_in_progress(history: History) -> None:
    change_task(history, GOOD, status="in_progress")
    history.events.pop(4)


def start_twice(history: History) -> None:
    history.events.append(event(GOOD, "pending", "in_progress", 2))


def skip_an_attempt(history: History) -> None:
    history.events = [each for each in history.events if (each.task_id, each.attempt) != (GOOD, 1)]


def start_more_than_the_row_knows(history: History) -> None:
    history.events += [event(GOOD, "pending", "in_progress", 3), event(GOOD, "in_progress", "pending", 3)]


def start_before_the_last_ended(history: History) -> None:
    history.events.remove(event(GOOD, "in_progress", "pending", 1))


def end_twice(history: History) -> None:
    history.events.append(event(GOOD, "in_progress", "failed", 2))


def end_by_an_earlier_attempt(history: History) -> None:
    """What a frozen worker does that wakes up and is not fenced off."""
    history.events.remove(event(GOOD, "in_progress", "completed", 2))
    history.events.append(event(GOOD, "in_progress", "completed", 1))


def go_on_after_the_end(history: History) -> None:
    history.events[2] = event(GOOD, "in_progress", "completed", 1)


def promise_nothing(history: History) -> None:
    del history.deliveries[0], history.tries[:2], history.posts[:2]


def promise_another_end(history: History) -> None:
    change_delivery(history, event="task.failed")


def give_up(history: History) -> None:
    change_delivery(history, status="dead")


def deliver_to_nobody(history: History) -> None:
    del history.posts[:2]


def deliver_what_is_not_there(history: History) -> None:
    history.posts.append(post(GOOD, "task.started", 99))


def leave_a_try_out(history: History) -> None:
    history.tries.pop(0)


def deliver_without_a_success(history: History) -> None:
    history.tries[1] = noted(10, 2, "callback_timeout")


def go_on_after_a_success(history: History) -> None:
    history.tries[0] = noted(10, 1)


def have_two_effects(history: History) -> None:
    history.deliveries.append(replace(delivery(GOOD, "task.completed"), id=11, series=2))
    history.tries.append(noted(11))
    history.posts.append(post(GOOD, "task.completed", 11))


def send_other_bytes(history: History) -> None:
    history.posts[1] = replace(history.posts[1], body_sha256="others")


def survive_poison(history: History) -> None:
    change_task(history, POISON, crashes=4)


def complete_poison(history: History) -> None:
    change_task(history, POISON, status="completed", error_code=None)
    history.events[-1] = event(POISON, "in_progress", "completed", 3)
    history.deliveries[1] = delivery(POISON, "task.completed")


def lose_an_innocent(history: History) -> None:
    history.poison.clear()


def leave_redis_without_an_epoch(history: History) -> None:
    history.is_whole = False


def leave_an_entry(history: History) -> None:
    history.left = {"recognition.leased": 1}


def refuse(history: History) -> None:
    history.refused.append("key-1: 500")


def send_unsigned(history: History) -> None:
    history.unsigned = 1


def end_by_itself(history: History) -> None:
    history.exits[1] += 1


def log_an_error(history: History) -> None:
    history.errors["loop.failed"] += 1


BROKEN: list[tuple[Rule, Callable[[History], None]]] = [
    (Rule.ACCEPTED, forget_task),
    (Rule.ACCEPTED, never_accept),
    (Rule.ONE_TASK, answer_with_two_ids),
    (Rule.ONE_TASK, store_twice),
    (Rule.ENDED, stay_in_progress),
    (Rule.ONE_START, start_twice),
    (Rule.NO_GAPS, skip_an_attempt),
    (Rule.NO_GAPS, start_more_than_the_row_knows),
    (Rule.NO_GAPS, start_before_the_last_ended),
    (Rule.ONE_END, end_twice),
    (Rule.ONE_END, end_by_an_earlier_attempt),
    (Rule.ONE_END, go_on_after_the_end),
    (Rule.DELIVERED, promise_nothing),
    (Rule.DELIVERED, promise_another_end),
    (Rule.DELIVERED, give_up),
    (Rule.DELIVERED, deliver_to_nobody),
    (Rule.DELIVERED, deliver_what_is_not_there),
    (Rule.TRIES, leave_a_try_out),
    (Rule.TRIES, deliver_without_a_success),
    (Rule.TRIES, go_on_after_a_success),
    (Rule.ONE_EFFECT, have_two_effects),
    (Rule.SAME_BYTES, send_other_bytes),
    (Rule.POISON, survive_poison),
    (Rule.POISON, complete_poison),
    (Rule.INNOCENT, lose_an_innocent),
    (Rule.WHOLE, leave_redis_without_an_epoch),
    (Rule.WHOLE, leave_an_entry),
    (Rule.ANSWERS, refuse),
    (Rule.SIGNED, send_unsigned),
    (Rule.ALIVE, end_by_itself),
    (Rule.CALM, log_an_error),
]
