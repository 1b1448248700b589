"""The checker can fail: each rule goes red over a history that breaks it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.chaos.broken_histories import BROKEN
from tests.chaos.checker import check
from tests.chaos.histories import flawless
from tests.chaos.history import History, Rule


def test_a_flawless_history_breaks_nothing() -> None:
    assert check(flawless()) == []


@pytest.mark.parametrize(("rule", "break_it"), BROKEN, ids=[each.__name__ for _, each in BROKEN])
def test_the_checker_notices_a_history_that_would(rule: Rule, break_it: Callable[[History], None]) -> None:
    history = flawless()
    break_it(history)
    assert rule in {breach.rule for breach in check(history)}


def test_every_rule_has_a_history_that_breaks_it() -> None:
    assert {rule for rule, _ in BROKEN} == set(Rule)
