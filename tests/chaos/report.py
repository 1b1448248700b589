"""The table at the end of a run."""

from __future__ import annotations

import platform
from collections import Counter

from tests.chaos.faults import FaultKind
from tests.chaos.history import Rule
from tests.chaos.run import Orders, Outcome

_SHOWN = 5


def table(orders: Orders, outcome: Outcome) -> str:
    """Draw it in Markdown."""
    lines = ["| what | number |", "|---|---|"]
    lines += [f"| {name} | {value} |" for name, value in _figures(orders, outcome)]
    broken = Counter(breach.rule for breach in outcome.breaches)
    lines += ["", "| promise | broken |", "|---|---|"]
    lines += [f"| {rule} | {broken[rule]} |" for rule in Rule]
    for rule in broken:
        shown = [breach.what for breach in outcome.breaches if breach.rule == rule][:_SHOWN]
        lines += ["", f"BROKEN: {rule} ({broken[rule]})", *(f"  {what}" for what in shown)]
    return "\n".join(lines)


def _figures(orders: Orders, outcome: Outcome) -> list[tuple[str, object]]:
    history, shape = outcome.history, orders.shape
    statuses = Counter(row.status for row in history.tasks)
    innocent = [row for row in history.tasks if row.idempotency_key not in history.poison]
    effects = sum(post.is_effect for post in history.posts)
    rebuilt = ", ".join(f"{seconds:.1f}" for seconds in outcome.rebuilt_after_seconds)
    settled = outcome.settled_after_seconds
    return [
        ("seed", orders.seed),
        ("database", shape.database),
        ("workers / web processes", f"{shape.workers} / {shape.webs}"),
        ("lease, shortened from 15 s", f"{shape.lease_seconds:g} s"),
        ("Python", platform.python_version()),
        ("seconds of faults", f"{outcome.struck_seconds:.0f}"),
        *((kind.value, outcome.faults[kind]) for kind in FaultKind),
        ("process exits by status", _counted(history.exits)),
        ("tasks accepted", sum(bool(ids) for ids in history.accepted.values())),
        ("of these while faults struck", outcome.accepted_meanwhile),
        ("answers to callers", _counted(outcome.answers)),
        ("tasks by end", _counted(statuses)),
        ("attempts", sum(row.attempt for row in history.tasks)),
        ("innocent tasks by deaths", _counted(Counter(row.crashes for row in innocent))),
        ("callbacks with an effect", effects),
        ("callbacks that came again, recognised", len(history.posts) - effects),
        ("POSTs noted", len(history.tries)),
        ("plan whole again after FLUSHALL, s", rebuilt or "-"),
        ("settled after the last submission, s", "not in time" if settled is None else f"{settled:.1f}"),
        ("entries left in Redis", _counted(Counter(history.left)) or "0"),
    ]


def _counted(counter: Counter[int] | Counter[str] | Counter[int | str]) -> str:
    return ", ".join(
        f"{name}: {count}" for name, count in sorted(counter.items(), key=lambda pair: str(pair[0]))
    )
