"""From a parsed body to a task that has everything but its ids."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from app.auth import Principal
from app.schemas.faults import Meaning, canonical_sha256, check_form, check_task, failure
from app.schemas.submission import BatchIn, TaskIn
from core.clock import utc_now
from core.domain.recognition import Recognition
from core.domain.task import CallbackShape, Task
from core.errors import Fault

_REQUIRED = ("business_id", "system_code", "callback_url", "prompt", "cameras")
_REQUIRED_OF_CAMERA = ("camera_id", "camera_size", "monitor_areas", "capture_time", "image_url")


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What a submission brings beside its body."""

    idempotency_key: str | None = None
    client_id: str | None = None
    traceparent: str | None = None
    callback_shape: CallbackShape = CallbackShape.EVENT


def read_task(raw: Any, asked: Asked, principal: Principal, meaning: Meaning) -> Task:
    """The task that a body describes, its ids still 0; raises ValidationFailed with every fault."""
    now = utc_now()
    body, faults = check_task(raw, meaning, now)
    code = raw.get("system_code") if isinstance(raw, dict) else None
    if principal.system_code is not None and isinstance(code, str) and code != principal.system_code:
        detail = f"must be the API key's own, {principal.system_code}, or be left out"
        faults.append(Fault(pointer="/system_code", detail=detail))
    if code is None and principal.system_code is None and isinstance(raw, dict):
        faults.append(Fault(pointer="/system_code", detail="is required: it names whose task this is"))
    if asked.callback_shape is CallbackShape.ENVELOPE:
        told = {fault.pointer for fault in faults}
        faults += [fault for fault in _missing_in_envelope(raw) if fault.pointer not in told]
    if faults or body is None:
        raise failure(faults)
    return _entity(body, asked, principal.system_code or body.system_code or "", meaning, now)


def read_batch(raw: Any) -> list[Any]:
    """The items of a batch, each still as it came; raises ValidationFailed."""
    batch, faults = check_form(BatchIn, raw)
    if batch is None:
        raise failure(faults)
    return batch.items


def _missing_in_envelope(raw: Any) -> Iterator[Fault]:
    """What the envelope profile requires and is not there or null; the form tells of other types."""
    if not isinstance(raw, dict):
        return
    for name in _REQUIRED:
        if raw.get(name) is None:
            yield Fault(pointer=f"/{name}", detail="is required")
    cameras = raw.get("cameras")
    for index, camera in enumerate(cameras if isinstance(cameras, list) else []):
        for name in _REQUIRED_OF_CAMERA if isinstance(camera, dict) else ():
            if camera.get(name) is None:
                yield Fault(pointer=f"/cameras/{index}/{name}", detail="is required")


def _entity(body: TaskIn, asked: Asked, owner: str, meaning: Meaning, now: datetime) -> Task:
    return Task(
        id=0,
        system_code=owner,
        business_id=body.business_id,
        prompt=body.prompt,
        priority=body.priority,
        timeout_seconds=body.timeout_seconds,
        queue_ttl_seconds=body.queue_ttl_seconds,
        model=body.model,
        min_score=body.min_score,
        callback_url=body.callback_url,
        callback_events=tuple(event.value for event in body.callback_events),
        callback_shape=asked.callback_shape,
        metadata=body.metadata,
        client_id=asked.client_id,
        idempotency_key=asked.idempotency_key,
        request_sha256=canonical_sha256(body, owner),
        dedup_key=body.dedup.key if body.dedup else None,
        dedup_mode=body.dedup.mode.value if body.dedup else None,
        traceparent=asked.traceparent,
        cost=len(body.cameras),
        recognitions=tuple(_picture(body, position, meaning, now) for position in range(len(body.cameras))),
    )


def _picture(body: TaskIn, position: int, meaning: Meaning, now: datetime) -> Recognition:
    camera = body.cameras[position]
    moment = meaning.moment(camera.capture_time, now)
    return Recognition(
        id=0,
        task_id=0,
        position=position,
        camera_id=camera.camera_id,
        image_url=camera.image_url,
        model=meaning.model_of(body.model, moment),
        capture_time=moment,
        camera_size=_size(camera.camera_size),
        monitor_areas=tuple(tuple((x, y) for x, y in polygon) for polygon in camera.monitor_areas),
    )


def _size(sides: list[int] | None) -> tuple[int, int] | None:
    return None if sides is None else (sides[0], sides[1])
