"""The envelope profile: a task in flat names, for systems that already speak it."""

from __future__ import annotations

from datetime import datetime
from typing import Literal, Self
from zoneinfo import ZoneInfo

from pydantic import Field

from core.domain.links import Links
from core.domain.recognition import Recognition, RecognitionStatus
from core.domain.task import Task, TaskStatus
from core.domain.wire import (
    AreaView,
    DecimalId,
    ObjectView,
    RecognitionView,
    WireModel,
    accepted_at,
    image_url,
)

_UNSUCCESSFUL = (TaskStatus.FAILED, TaskStatus.CANCELLED, TaskStatus.EXPIRED)
LOCAL_TIME_PATTERN = r"^[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2}:[0-9]{2}$"


class EnvelopeResult(WireModel):
    """What was found in one picture."""

    counts: dict[str, int]
    areas: tuple[AreaView, ...]
    total: int
    objects: tuple[ObjectView, ...]


class EnvelopeRecognition(WireModel):
    """One picture of a task. Times are local to the site."""

    id: DecimalId
    camera_id: str
    camera_size: tuple[int, int] | None = Field(description="Height and width of the areas' coordinates")
    monitor_areas: tuple[tuple[tuple[float, float], ...], ...]
    capture_time: str = Field(pattern=LOCAL_TIME_PATTERN)
    image_url: str
    model: str
    task_status: RecognitionStatus
    recognition_url: str | None
    recognition_result: EnvelopeResult | None = Field(description="Null until recognised")
    recognition_time: str | None = Field(description="When work on it began")
    completion_time: str | None
    error_msg: str = Field(description="Empty unless it failed, or its annotated picture could not be saved")

    @classmethod
    def of(cls, picture: Recognition, *, links: Links, at: datetime, zone: ZoneInfo) -> Self:
        """The view of a picture, its link good from `at` on."""
        view = RecognitionView.of(picture, recognition_url=image_url(picture, links, at))
        return cls(
            id=view.id,
            camera_id=picture.camera_id,
            camera_size=picture.camera_size,
            monitor_areas=picture.monitor_areas,
            capture_time=local_time(picture.capture_time, zone),
            image_url=picture.image_url,
            model=picture.model,
            task_status=picture.status,
            recognition_url=view.recognition_url,
            recognition_result=_result(view),
            recognition_time=_local_or_none(picture.started_at, zone),
            completion_time=_local_or_none(picture.completed_at, zone),
            error_msg=picture.error.message if picture.error else "",
        )


class EnvelopeTask(WireModel):
    """One task. Times are local to the site."""

    id: DecimalId
    create_time: str = Field(pattern=LOCAL_TIME_PATTERN)
    business_id: str
    system_code: str
    callback_url: str | None
    prompt: str
    task_status: TaskStatus
    task_num: int
    recognition_list: tuple[EnvelopeRecognition, ...]

    @classmethod
    def of(cls, task: Task, *, links: Links, at: datetime, zone: ZoneInfo) -> Self:
        """The view of a stored task, its links good from `at` on."""
        return cls(
            id=str(task.id),
            create_time=local_time(accepted_at(task), zone),
            business_id=task.business_id,
            system_code=task.system_code,
            callback_url=task.callback_url,
            prompt=task.prompt,
            task_status=task.status,
            task_num=task.task_num,
            recognition_list=tuple(
                EnvelopeRecognition.of(picture, links=links, at=at, zone=zone)
                for picture in task.recognitions
            ),
        )


class EnvelopeFault(WireModel):
    """One thing wrong with a request."""

    pointer: str
    detail: str


class EnvelopeFaults(WireModel):
    """All that is wrong with a request."""

    errors: tuple[EnvelopeFault, ...]


class EnvelopeAccepted(WireModel):
    """What a submission answers."""

    id: DecimalId
    task_status: TaskStatus
    position: int | None = Field(description="1 = next; null while Redis is away")


class Envelope(WireModel):
    """What every answer and callback of the profile is wrapped in; `code` is the status."""

    code: int
    message: str
    data: EnvelopeTask | EnvelopeAccepted | EnvelopeFaults | None
    success: bool


class EnvelopeCallback(WireModel):
    """The body of a callback of the profile."""

    code: Literal[200, 500]
    message: str
    data: EnvelopeTask
    success: bool


def envelope_body(task: Task, *, at: datetime, links: Links, zone: ZoneInfo) -> bytes:
    """The bytes of a callback: the task as it was at `at`; code 500 when it ended without success."""
    is_success = task.status not in _UNSUCCESSFUL
    return EnvelopeCallback(
        code=200 if is_success else 500,
        message="" if is_success or task.error is None else task.error.message,
        data=EnvelopeTask.of(task, links=links, at=at, zone=zone),
        success=is_success,
    ).to_bytes()


def local_time(moment: datetime, zone: ZoneInfo) -> str:
    """The moment on the site's clock, `2026-11-22 07:30:00`."""
    return moment.astimezone(zone).strftime("%Y-%m-%d %H:%M:%S")


def _local_or_none(moment: datetime | None, zone: ZoneInfo) -> str | None:
    return None if moment is None else local_time(moment, zone)


def _result(view: RecognitionView) -> EnvelopeResult | None:
    if view.total is None:
        return None
    return EnvelopeResult(counts=view.counts, areas=view.areas, total=view.total, objects=view.objects)
