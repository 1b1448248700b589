"""A task in the envelope profile's flat names, for systems that already speak it."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from pydantic import BaseModel, ConfigDict

from core.domain.links import Links
from core.domain.recognition import Findings, Recognition
from core.domain.task import Task, TaskStatus
from core.domain.wire import ObjectView, picture_link


class _View(BaseModel):
    model_config = ConfigDict(frozen=True)


class EnvelopeRecognition(_View):
    """One picture in flat names."""

    id: str
    camera_id: str
    camera_size: tuple[int, int] | None
    monitor_areas: tuple[tuple[tuple[float, float], ...], ...]
    capture_time: str
    image_url: str
    model: str
    task_status: str
    recognition_url: str | None
    recognition_result: dict[str, Any] | None
    recognition_time: str | None
    completion_time: str | None
    error_msg: str


class EnvelopeTask(_View):
    """A task in flat names."""

    id: str
    create_time: str | None
    business_id: str
    system_code: str
    callback_url: str | None
    prompt: str
    task_status: str
    task_num: int
    recognition_list: tuple[EnvelopeRecognition, ...]


class Envelope(_View):
    """What every answer of the profile looks like."""

    code: int = 200
    message: str = ""
    data: Any = None
    success: bool = True


def local_time(moment: datetime | None, zone: ZoneInfo) -> str | None:
    """A time as `YYYY-MM-DD HH:MM:SS` in the site's zone."""
    return None if moment is None else moment.astimezone(zone).strftime("%Y-%m-%d %H:%M:%S")


def envelope_task(task: Task, *, links: Links, zone: ZoneInfo, at: datetime) -> EnvelopeTask:
    """The profile's view of a task; links to pictures are signed from `at` on."""
    return EnvelopeTask(
        id=str(task.id),
        create_time=local_time(task.created_at, zone),
        business_id=task.business_id,
        system_code=task.system_code,
        callback_url=task.callback_url,
        prompt=task.prompt,
        task_status=task.status,
        task_num=task.task_num,
        recognition_list=tuple(_picture(task, picture, links, zone, at) for picture in task.recognitions),
    )


def envelope_body(task: Task, *, at: datetime, links: Links, zone: ZoneInfo) -> bytes:
    """The bytes of a callback in the profile's shape; a failed task has code 500."""
    has_failed = task.status is TaskStatus.FAILED
    message = task.error.message if has_failed and task.error is not None else ""
    view = Envelope(
        code=500 if has_failed else 200,
        message=message,
        data=envelope_task(task, links=links, zone=zone, at=at),
        success=not has_failed,
    )
    return view.model_dump_json().encode()


def _picture(
    task: Task, picture: Recognition, links: Links, zone: ZoneInfo, at: datetime
) -> EnvelopeRecognition:
    return EnvelopeRecognition(
        id=str(picture.id),
        camera_id=picture.camera_id,
        camera_size=picture.camera_size,
        monitor_areas=picture.monitor_areas,
        capture_time=local_time(picture.capture_time, zone) or "",
        image_url=picture.image_url,
        model=picture.model,
        task_status=picture.status,
        recognition_url=picture_link(task, picture, links, at),
        recognition_result=_result(picture.findings),
        recognition_time=local_time(picture.started_at, zone),
        completion_time=local_time(picture.completed_at, zone),
        error_msg="" if picture.error is None else f"{picture.error.code}: {picture.error.message}",
    )


def _result(findings: Findings | None) -> dict[str, Any] | None:
    if findings is None:
        return None
    return {
        "counts": findings.counts,
        "areas": [{"index": area.index, "counts": area.counts} for area in findings.areas],
        "total": findings.total,
        "objects": [
            ObjectView(label=o.label, score=o.score, box=o.box, areas=o.areas) for o in findings.objects
        ],
        "image": {"width": findings.width, "height": findings.height, "channels": findings.channels},
    }
