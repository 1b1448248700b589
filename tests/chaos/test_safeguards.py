"""Every safeguard can be taken out of the code as it is now; whether that is missed, a program tells.

`python -m tests.chaos.mutations` does it, which takes minutes; docs/reliability.md has what came of it.
"""

from __future__ import annotations

import ast

import pytest

from tests.chaos.safeguards import SAFEGUARDS, Safeguard
from tests.support.sources import ROOT


@pytest.mark.parametrize("safeguard", SAFEGUARDS, ids=lambda each: each.name)
def test_a_safeguard_stands_where_it_is_looked_for(safeguard: Safeguard) -> None:
    changed: dict[str, str] = {}
    for edit in safeguard.edits:
        text = changed.get(edit.path) or (ROOT / edit.path).read_text(encoding="utf-8")
        assert text.count(edit.before) == 1
        changed[edit.path] = text.replace(edit.before, edit.after)
    for path, text in changed.items():
        if path.endswith(".py"):
            ast.parse(text, filename=path)


def test_the_safeguards_have_names_of_their_own() -> None:
    assert len({each.name for each in SAFEGUARDS}) == len(SAFEGUARDS)
