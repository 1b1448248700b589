"""Tasks to test with: plain values, every field set."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from core.domain.delivery import DEFAULT_EVENTS
from core.domain.recognition import (
    AreaCount,
    ErrorNote,
    Findings,
    FoundObject,
    Recognition,
    RecognitionStatus,
)
from core.domain.task import CallbackShape, Task, TaskStatus

MOMENT = datetime(2026, 11, 22, 7, 30, 0, 123456, tzinfo=UTC)
TASK_ID = 7391224518873088
FIRST_ID, SECOND_ID = TASK_ID + 1, TASK_ID + 2


def some_recognition(*, position: int = 0) -> Recognition:
    """Give an open picture with a monitor area."""
    return Recognition(
        id=FIRST_ID + position,
        task_id=TASK_ID,
        position=position,
        camera_id=f"gate-{position}",
        image_url="https://cams.example/gate.jpg?key=geheim",
        model="ssdlite",
        capture_time=MOMENT - timedelta(minutes=1),
        camera_size=(768, 1024),
        monitor_areas=(((0.0, 0.0), (1024.0, 0.5), (1024.0, 768.0)),),
    )


def some_findings() -> Findings:
    """Give three cows, two of them in the area."""
    boxes = ((242.0, 284.0, 940.0, 704.0), (10.5, 20.0, 30.0, 40.0), (1.0, 2.0, 3.0, 4.0))
    areas: tuple[tuple[int, ...], ...] = ((0,), (0,), ())
    return Findings(
        width=1024,
        height=768,
        channels=3,
        objects=tuple(
            FoundObject(label="COW", score=0.97, box=box, areas=inside)
            for box, inside in zip(boxes, areas, strict=True)
        ),
        counts={"COW": 2},
        areas=(AreaCount(index=0, counts={"COW": 2}),),
        total=2,
        timings_ms={"fetch": 12.0, "decode": 9.5},
    )


def recognised(picture: Recognition) -> Recognition:
    """Give the picture as recognised, with its annotated file."""
    return Recognition(
        **{name: getattr(picture, name) for name in _ASKED},
        status=RecognitionStatus.COMPLETED,
        findings=some_findings(),
        media_key=f"annotated/00/{picture.task_id}/{picture.id}.jpg",
        started_at=MOMENT,
        completed_at=MOMENT + timedelta(seconds=1),
    )


def failed(picture: Recognition) -> Recognition:
    """Give the picture as failed."""
    return Recognition(
        **{name: getattr(picture, name) for name in _ASKED},
        status=RecognitionStatus.FAILED,
        error=ErrorNote(code="image_http_status", message="The picture's server answered with status 404."),
        completed_at=MOMENT + timedelta(seconds=1),
    )


_ASKED = (
    "id",
    "task_id",
    "position",
    "camera_id",
    "image_url",
    "model",
    "capture_time",
    "camera_size",
    "monitor_areas",
)


def some_task(
    status: TaskStatus = TaskStatus.PENDING,
    *,
    shape: CallbackShape = CallbackShape.EVENT,
    recognitions: tuple[Recognition, ...] | None = None,
    error: ErrorNote | None = None,
) -> Task:
    """Give an accepted task of two pictures."""
    pictures = (some_recognition(), some_recognition(position=1)) if recognitions is None else recognitions
    return Task(
        id=TASK_ID,
        system_code="north-ranch",
        business_id="patrol-0717",
        prompt="COW",
        status=status,
        priority=3,
        timeout_seconds=61,
        queue_ttl_seconds=3601,
        model="ssdlite",
        min_score=0.45,
        callback_url="https://erp.example/muster",
        callback_events=DEFAULT_EVENTS,
        callback_shape=shape,
        metadata={"shift": "früh", "nested": {"list": [1, 2.5, None, True]}},
        traceparent="00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        cost=len(pictures),
        created_at=MOMENT,
        queue_expires_at=MOMENT + timedelta(seconds=3601),
        recognitions=pictures,
        error=error,
        completed_at=MOMENT + timedelta(seconds=2) if status.is_final else None,
    )
