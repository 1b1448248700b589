"""Entities survive the way to their rows and back."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, TypeVar, cast

from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Row

from core.domain.delivery import Delivery
from core.domain.recognition import Findings, FoundObject, Recognition
from core.domain.task import Task
from core.store.rows import (
    delivery_to_row,
    recognition_to_row,
    row_to_delivery,
    row_to_recognition,
    row_to_task,
    task_to_row,
)
from core.store.tables import delivery, recognition, task

_Made = TypeVar("_Made", Task, Recognition, Delivery, Findings, FoundObject)
_FLOATS = st.floats(allow_nan=False, allow_infinity=False)
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | _FLOATS | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
_POINTS = st.tuples(_FLOATS, _FLOATS)


def _all_of(kind: type[_Made], **given_: st.SearchStrategy[Any]) -> st.SearchStrategy[_Made]:
    """Entities with every field filled in, those with defaults too."""
    return st.builds(kind, **{name: given_.get(name, ...) for name in kind.__dataclass_fields__})


def _tuples(of: st.SearchStrategy[Any]) -> st.SearchStrategy[tuple[Any, ...]]:
    return st.lists(of, max_size=3).map(tuple)


_OBJECTS = _all_of(FoundObject, score=_FLOATS, box=st.tuples(_FLOATS, _FLOATS, _FLOATS, _FLOATS))
_FINDINGS = _all_of(
    Findings, objects=_tuples(_OBJECTS), timings_ms=st.dictionaries(st.text(max_size=5), _FLOATS, max_size=3)
)
_PICTURES = _all_of(Recognition, findings=st.none() | _FINDINGS, monitor_areas=_tuples(_tuples(_POINTS)))
_TASKS = _all_of(
    Task,
    metadata=st.dictionaries(st.text(), _JSON, max_size=3),
    min_score=st.none() | _FLOATS,
    recognitions=st.just(()),
)


def _row(columns: Mapping[str, Any]) -> Row[Any]:
    """What a database gives back: JSON columns have been text on the way."""
    wide = ("metadata", "callback_events", "monitor_areas", "objects", "counts", "areas", "timings_ms")
    back = {name: json.loads(json.dumps(value)) if name in wide else value for name, value in columns.items()}
    return cast("Row[Any]", SimpleNamespace(_mapping=back))


@given(made=_TASKS)
def test_a_task_survives_its_row(made: Task) -> None:
    assert row_to_task(_row(task_to_row(made))) == made


@given(made=_PICTURES)
def test_a_picture_survives_its_row(made: Recognition) -> None:
    assert row_to_recognition(_row(recognition_to_row(made))) == made


@given(made=_all_of(Delivery))
def test_a_delivery_survives_its_row(made: Delivery) -> None:
    assert row_to_delivery(_row(delivery_to_row(made))) == made


def test_rows_name_columns_that_there_are() -> None:
    now = datetime.now(UTC)
    picture = Recognition(
        id=1, task_id=1, position=0, camera_id="c", image_url="u", model="m", capture_time=now
    )
    sent = Delivery(id=1, task_id=1, system_code="s", event="e", url="u", host="h", flow="f", body=b"")
    made = Task(id=1, system_code="s", business_id="b", prompt="p")
    assert set(recognition_to_row(picture)) == set(recognition.c.keys()) - {"attempt"}
    assert set(delivery_to_row(sent)) == set(delivery.c.keys()) - {
        "worker_id", "claim_token", "deadline_at", "updated_at",
    }  # fmt: skip
    assert set(task_to_row(made)) == set(task.c.keys()) - {"dedup_slot", "idempotency_expires_at"}
