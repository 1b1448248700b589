"""Rows to entities and back."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Row

from core.domain.delivery import Delivery, DeliveryStatus
from core.domain.recognition import (
    AreaCount,
    ErrorNote,
    Findings,
    FoundObject,
    Recognition,
    RecognitionStatus,
)
from core.domain.task import CallbackShape, Task, TaskStatus

_TASK_AS_IS = (
    "id", "system_code", "business_id", "prompt", "priority", "timeout_seconds", "queue_ttl_seconds", "model",
    "min_score", "callback_url", "metadata", "client_id", "idempotency_key", "request_sha256", "dedup_key",
    "dedup_mode", "traceparent", "cost", "attempt", "failures", "crashes", "series", "worker_id",
    "claim_token", "cancel_requested", "created_at", "started_at", "completed_at", "next_attempt_at",
    "queue_expires_at",
    "deadline_at", "updated_at",
)  # fmt: skip
_RECOGNITION_AS_IS = (
    "id", "task_id", "position", "camera_id", "image_url", "model", "capture_time", "media_key", "started_at",
    "completed_at",
)  # fmt: skip
_DELIVERY_AS_IS = (
    "id", "task_id", "system_code", "event", "url", "host", "flow", "body", "series", "recognition_id",
    "attempt", "tries", "crashes", "next_attempt_at", "delivered_at", "created_at", "error_code",
    "traceparent",
)  # fmt: skip


def task_to_row(task: Task) -> dict[str, Any]:
    """The columns of a task."""
    row = {name: getattr(task, name) for name in _TASK_AS_IS}
    row |= {
        "callback_events": list(task.callback_events),
        "callback_shape": task.callback_shape.value,
        "status": task.status.value,
    }
    return row | _error_columns(task.error)


def row_to_task(row: Row[Any], recognitions: tuple[Recognition, ...] = ()) -> Task:
    """The entity of a task's row and its pictures."""
    named = row._mapping
    return Task(
        **{name: named[name] for name in _TASK_AS_IS},
        callback_events=tuple(named["callback_events"]),
        callback_shape=CallbackShape(named["callback_shape"]),
        status=TaskStatus(named["status"]),
        error=_error_note(named),
        recognitions=recognitions,
    )


def recognition_to_row(recognition: Recognition) -> dict[str, Any]:
    """The columns of a picture."""
    height, width = recognition.camera_size or (None, None)
    row = {name: getattr(recognition, name) for name in _RECOGNITION_AS_IS}
    row |= {
        "camera_height": height,
        "camera_width": width,
        "monitor_areas": [[list(point) for point in polygon] for polygon in recognition.monitor_areas],
        "status": recognition.status.value,
    }
    return row | _error_columns(recognition.error) | _findings_columns(recognition.findings)


def row_to_recognition(row: Row[Any]) -> Recognition:
    """The entity of a picture's row."""
    named = row._mapping
    size = None if named["camera_height"] is None else (named["camera_height"], named["camera_width"])
    return Recognition(
        **{name: named[name] for name in _RECOGNITION_AS_IS},
        camera_size=size,
        monitor_areas=tuple(tuple((x, y) for x, y in polygon) for polygon in named["monitor_areas"]),
        status=RecognitionStatus(named["status"]),
        findings=_findings(named),
        error=_error_note(named),
    )


def delivery_to_row(delivery: Delivery) -> dict[str, Any]:
    """The columns of a delivery."""
    row = {name: getattr(delivery, name) for name in _DELIVERY_AS_IS}
    return row | {"status": delivery.status.value}


def row_to_delivery(row: Row[Any]) -> Delivery:
    """The entity of a delivery's row."""
    named = row._mapping
    return Delivery(**{name: named[name] for name in _DELIVERY_AS_IS}, status=DeliveryStatus(named["status"]))


def _error_columns(error: ErrorNote | None) -> dict[str, Any]:
    if error is None:
        return {"error_code": None, "error_message": None}
    return {"error_code": error.code, "error_message": error.message[:500]}


def _error_note(named: Any) -> ErrorNote | None:
    if named["error_code"] is None:
        return None
    return ErrorNote(code=named["error_code"], message=named["error_message"] or "")


def _findings_columns(findings: Findings | None) -> dict[str, Any]:
    names = (
        "image_width",
        "image_height",
        "image_channels",
        "objects",
        "counts",
        "areas",
        "total",
        "timings_ms",
    )
    if findings is None:
        return dict.fromkeys(names)
    objects = [
        {"label": o.label, "score": o.score, "box": list(o.box), "areas": list(o.areas)}
        for o in findings.objects
    ]
    areas = [{"index": area.index, "counts": area.counts} for area in findings.areas]
    shape = (findings.width, findings.height, findings.channels)
    values = (*shape, objects, findings.counts, areas, findings.total, findings.timings_ms)
    return dict(zip(names, values, strict=True))


def _findings(named: Any) -> Findings | None:
    if named["total"] is None:
        return None
    return Findings(
        width=named["image_width"],
        height=named["image_height"],
        channels=named["image_channels"],
        objects=tuple(
            FoundObject(label=o["label"], score=o["score"], box=tuple(o["box"]), areas=tuple(o["areas"]))
            for o in named["objects"]
        ),
        counts=named["counts"],
        areas=tuple(AreaCount(index=a["index"], counts=a["counts"]) for a in named["areas"]),
        total=named["total"],
        timings_ms=named["timings_ms"],
    )
