"""What a child answers is not believed unread."""

from __future__ import annotations

from typing import Any

import pytest

from worker.jobs import outcome_from


def answer(**changes: Any) -> dict[str, Any]:
    found = {"label": "COW", "score": 0.9, "box": [1, 2, 3, 4], "areas": []} | changes
    findings: dict[str, Any] = {"width": 8, "height": 8, "channels": 3, "objects": [found]}
    findings |= {"counts": {"COW": 1}, "areas": [], "total": 1, "timings_ms": {"decode": 1.5}}
    return {"findings": findings}


def test_a_sensible_answer_is_read() -> None:
    outcome = outcome_from(answer(), b"")
    assert (outcome.findings.objects[0].box, outcome.annotated) == ((1.0, 2.0, 3.0, 4.0), None)


@pytest.mark.parametrize(
    "changes",
    [
        {"score": float("nan")},
        {"score": float("inf")},
        {"box": [0, 0, float("inf"), 1]},
        {"box": [0, 0, 1]},
        {"score": "high"},
    ],
)
def test_an_answer_that_no_database_could_hold_makes_no_sense(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"finite|unpack|convert"):
        outcome_from(answer(**changes), b"")
