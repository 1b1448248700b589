"""A whole chaos run: tasks are handed in while everything breaks, then quiet, then the reckoning."""

from __future__ import annotations

import asyncio
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from time import monotonic

from sqlalchemy import func, select

from core.errors import DatabaseUnavailable
from core.store.tables import delivery, task
from tests.chaos.callers import Callers, Mix, make_orders
from tests.chaos.checker import FINAL, check
from tests.chaos.faults import Fault, FaultKind, make_plan
from tests.chaos.fleet import errors_of
from tests.chaos.history import Breach, History, read_rows
from tests.chaos.installation import Installation, Shape, open_installation
from tests.chaos.strikes import Strikes, entries_left, is_whole
from tests.support.behaviours import jpeg

_LOOK_SECONDS = 0.5
_TELL_SECONDS = 5.0
_MOST_WAITING = 300
"""Then callers pause, so that what waits when the faults end can be done in the quiet on a slow machine."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Orders:
    """What a run is told to do."""

    seed: int
    tasks: int = 600
    poison: int = 3
    seconds: float = 30.0
    every_seconds: float = 2.0
    quiet_seconds: float = 60.0
    is_merciless: bool = False
    """Whether faults go on until every task is accepted, and not for `seconds` alone."""
    only: tuple[FaultKind, ...] = ()
    """Kinds of faults; empty = all."""
    dawdling: float = 0.02
    """Share of tasks that take seconds."""
    shape: Shape = field(default_factory=Shape)


@dataclass(slots=True, kw_only=True)
class Outcome:
    """What came of a run."""

    history: History
    breaches: list[Breach] = field(default_factory=list)
    faults: Counter[FaultKind] = field(default_factory=Counter)
    answers: Counter[int | str] = field(default_factory=Counter)
    rebuilt_after_seconds: list[float] = field(default_factory=list)
    struck_seconds: float = 0.0
    accepted_meanwhile: int = 0
    """Tasks accepted before the last fault was over."""
    settled_after_seconds: float | None = None
    """From the last submission until all had ended, was delivered and had left Redis; None = not in time."""


async def run(orders: Orders, folder: Path) -> Outcome:
    """Do all of it; the servers and processes are gone afterwards, their logs are in the folder."""
    outcome = Outcome(history=History())
    async with open_installation(orders.shape, folder, orders.seed) as installation:
        callers = Callers(installation, outcome.history, orders.seed)
        strikes = Strikes(installation)
        await _strike(orders, installation, callers, strikes, outcome)
        outcome.settled_after_seconds = await _settle(installation, orders)
        await _read(installation, callers, outcome.history)
        outcome.faults, outcome.answers = strikes.done, callers.answers
        outcome.rebuilt_after_seconds = strikes.rebuilt_after_seconds
        outcome.breaches = check(outcome.history)
    return outcome


async def _read(installation: Installation, callers: Callers, history: History) -> None:
    await read_rows(installation.db, history)
    history.posts = [post for one in installation.receivers for post in one.posts]
    history.unsigned = sum(one.unsigned for one in installation.receivers)
    history.refused = callers.refused
    history.left = await entries_left(installation)
    kept = (*installation.webs, *installation.workers)
    history.exits = sum((one.exits for one in kept), Counter())
    history.errors = sum((errors_of(one.log) for one in kept), Counter())
    history.is_whole = await is_whole(installation)


async def _strike(
    orders: Orders, installation: Installation, callers: Callers, strikes: Strikes, outcome: Outcome
) -> None:
    """Hand in everything while faults strike; what they held up is handed in when they are over."""
    upload = await callers.upload(jpeg())
    mix = Mix(tasks=orders.tasks, poison=orders.poison, dawdling=orders.dawdling)
    work = make_orders(installation, orders.seed, mix, upload)
    begun = monotonic()
    async with asyncio.TaskGroup() as group:
        watcher = group.create_task(_watch(installation, callers, begun))
        striking = group.create_task(strikes.run(_plan(orders, installation), orders.every_seconds))
        handing_in = group.create_task(callers.hand_in(work, seconds=orders.seconds))
        await asyncio.wait({handing_in}, timeout=None if orders.is_merciless else orders.seconds)
        await asyncio.sleep(max(0.0, begun + orders.seconds - monotonic()))
        strikes.end()
        await striking
        outcome.struck_seconds = monotonic() - begun
        outcome.accepted_meanwhile = sum(bool(ids) for ids in outcome.history.accepted.values())
        await handing_in
        watcher.cancel()


def _plan(orders: Orders, installation: Installation) -> Iterator[Fault]:
    """Give the faults of one plan after another, each by a seed of its own."""
    for round_ in count():
        yield from make_plan(
            orders.seed + round_,
            seconds=orders.seconds,
            every_seconds=orders.every_seconds,
            lease_seconds=orders.shape.lease_seconds,
            has_server=installation.server is not None,
            only=orders.only,
        )


async def _settle(installation: Installation, orders: Orders) -> float | None:
    """Wait until everything has ended, is delivered and has left Redis, at most for the quiet."""
    begun = monotonic()
    told = begun
    while monotonic() - begun < orders.quiet_seconds:
        tasks, deliveries = await _counts(installation)
        is_over = all(status in FINAL for status in tasks) and deliveries.keys() <= {"delivered"}
        if is_over and not await entries_left(installation):
            return monotonic() - begun
        if monotonic() - told > _TELL_SECONDS:
            told = monotonic()
            _say(f"quiet {told - begun:5.1f} s  tasks {dict(tasks)}  deliveries {dict(deliveries)}")
        await asyncio.sleep(_LOOK_SECONDS)
    return None


async def _counts(installation: Installation) -> tuple[Counter[str], Counter[str]]:
    found = []
    for table in (task, delivery):
        async with installation.db.read() as connection:
            rows = await connection.execute(select(table.c.status, func.count()).group_by(table.c.status))
            found.append(Counter({str(status): int(count) for status, count in rows}))
    return found[0], found[1]


async def _watch(installation: Installation, callers: Callers, begun: float) -> None:
    """Say now and then how far it is; let callers wait while much waits already."""
    told = begun
    while True:
        try:
            tasks, deliveries = await _counts(installation)
        except DatabaseUnavailable:
            tasks, deliveries = Counter(), Counter({"(the database is away)": 1})
        callers.pause(is_too_much=tasks["pending"] > _MOST_WAITING)
        if monotonic() - told > _TELL_SECONDS:
            told = monotonic()
            _say(f"      {told - begun:5.1f} s  tasks {dict(tasks)}  deliveries {dict(deliveries)}")
        await asyncio.sleep(_LOOK_SECONDS)


def _say(line: str) -> None:
    sys.stderr.write(line + "\n")
