"""The plan of faults comes from the seed alone and has all that a run must suffer."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.chaos.faults import Fault, FaultKind, Link, make_plan


def plan(
    seed: int = 1, *, seconds: float = 130.0, every_seconds: float = 2.0, has_server: bool = True
) -> list[Fault]:
    return make_plan(
        seed, seconds=seconds, every_seconds=every_seconds, lease_seconds=5.0, has_server=has_server
    )


def test_one_seed_makes_one_plan() -> None:
    assert plan(7) == plan(7) != plan(8)


def test_the_long_plan_has_every_fault_that_is_asked_of_it() -> None:
    counts = Counter(fault.kind for fault in plan())
    assert counts[FaultKind.WORKER_KILL] >= 25
    assert counts[FaultKind.WEB_KILL] >= 10
    assert counts[FaultKind.VALKEY_KILL] >= 3
    assert counts[FaultKind.FLUSH] >= 2
    assert counts[FaultKind.DATABASE_KILL] >= 2
    assert counts[FaultKind.ZOMBIE] >= 5


@pytest.mark.parametrize("seconds", [6.0, 30.0, 130.0, 600.0])
def test_there_is_a_fault_for_every_beat(seconds: float) -> None:
    assert len(plan(seconds=seconds)) == int(seconds / 2)


def test_a_zombie_outlives_its_lease() -> None:
    zombies = [fault for fault in plan() if fault.kind is FaultKind.ZOMBIE]
    assert all(fault.seconds > 5.0 for fault in zombies)


def test_without_a_database_server_nothing_happens_to_it() -> None:
    faults = plan(has_server=False)
    assert len(faults) == 65
    assert not {FaultKind.DATABASE_KILL, FaultKind.DATABASE_FREEZE} & {fault.kind for fault in faults}
    assert Link.DATABASE not in {fault.link for fault in faults}


def test_a_long_plan_disturbs_every_link_in_every_way() -> None:
    met = {(fault.link, fault.weather) for fault in plan(seconds=600) if fault.kind is FaultKind.LINK}
    assert len(met) == 25


def test_a_plan_can_be_of_some_kinds_only() -> None:
    only = (FaultKind.ZOMBIE, FaultKind.FLUSH)
    chosen = make_plan(1, seconds=60, every_seconds=2, lease_seconds=5, has_server=True, only=only)
    assert {fault.kind for fault in chosen} == set(only)
