"""A task as JSON: the same shape in answers and in callbacks.

It stands in the domain because both doors speak it: the HTTP door answers with it, the worker
promises callbacks with it.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, PlainSerializer, WithJsonSchema

from core.domain.delivery import EventType
from core.domain.links import Links, image_path
from core.domain.recognition import ErrorNote, Findings, Recognition
from core.domain.task import Task


def rfc3339(moment: datetime) -> str:
    """A time in UTC with milliseconds and a Z."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


Moment = Annotated[
    datetime,
    PlainSerializer(rfc3339, return_type=str, when_used="json"),
    WithJsonSchema({"type": "string", "format": "date-time"}),
]
Identifier = Annotated[str, Field(pattern=r"^[0-9]{1,20}$", examples=["7391224518873088"])]


class _View(BaseModel):
    model_config = ConfigDict(frozen=True)


class ErrorView(_View):
    """Why something failed."""

    code: str
    message: str

    @classmethod
    def of(cls, note: ErrorNote | None) -> ErrorView | None:
        """The view of a note, if there is one."""
        return None if note is None else cls(code=note.code, message=note.message)


class ImageView(_View):
    """The picture's size in pixels, upright."""

    width: int
    height: int
    channels: int


class AreaView(_View):
    """What was counted in one monitor area."""

    index: int
    counts: dict[str, int]


class ObjectView(_View):
    """One object: box as [x1, y1, x2, y2] in pixels, and the areas it stands in."""

    label: str
    score: float
    box: tuple[float, float, float, float]
    areas: tuple[int, ...]


class RecognitionView(_View):
    """One picture of a task."""

    id: Identifier
    camera_id: str
    status: str
    model: str
    image: ImageView | None = None
    counts: dict[str, int] | None = None
    areas: tuple[AreaView, ...] = ()
    total: int | None = None
    objects: tuple[ObjectView, ...] = ()
    recognition_url: str | None = None
    timings_ms: dict[str, float] = {}
    error: ErrorView | None = None

    @classmethod
    def of(cls, picture: Recognition, image_url: str | None) -> RecognitionView:
        """The view of a picture."""
        return cls(
            id=str(picture.id),
            camera_id=picture.camera_id,
            status=picture.status,
            model=picture.model,
            recognition_url=image_url,
            error=ErrorView.of(picture.error),
            **_found(picture.findings),
        )


class ImagesView(_View):
    """How many pictures there are and how many have ended."""

    total: int
    completed: int
    failed: int


class QueueView(_View):
    """Where a waiting task stands: position 1 is served next."""

    position: int | None = None
    ahead: int | None = None
    eta_seconds: float | None = None
    limited_by: str | None = None


class UrlsView(_View):
    """Where to go from here."""

    self: str
    cancel: str


class TaskView(_View):
    """A task."""

    id: Identifier
    status: str
    business_id: str
    system_code: str
    prompt: str
    priority: int
    attempt: int
    created_at: Moment | None
    started_at: Moment | None = None
    completed_at: Moment | None = None
    error: ErrorView | None = None
    metadata: dict[str, Any] = {}
    client_id: str | None = None
    queue: QueueView | None = None
    images: ImagesView
    next_attempt_at: Moment | None = None
    task_num: int
    recognitions: tuple[RecognitionView, ...]
    urls: UrlsView

    @classmethod
    def of(cls, task: Task, *, queue: QueueView | None = None, links: Links | None = None) -> TaskView:
        """The view of a task; with `links`, addresses are absolute and pictures need no key."""
        at = task.completed_at or task.updated_at or task.created_at or datetime.now(UTC)
        path = f"/v1/tasks/{task.id}"
        absolute: Callable[[str], str] = str if links is None else links.absolute
        as_is = (
            "business_id",
            "system_code",
            "prompt",
            "priority",
            "attempt",
            "metadata",
            "client_id",
            "task_num",
        )
        times = ("created_at", "started_at", "completed_at", "next_attempt_at")
        return cls(
            id=str(task.id),
            status=task.status,
            **{name: getattr(task, name) for name in as_is + times},
            error=ErrorView.of(task.error),
            queue=queue,
            images=ImagesView(
                total=task.images_total, completed=task.images_completed, failed=task.images_failed
            ),
            recognitions=tuple(
                RecognitionView.of(picture, picture_link(task, picture, links, at))
                for picture in task.recognitions
            ),
            urls=UrlsView(self=absolute(path), cancel=absolute(f"{path}/cancel")),
        )


class EventView(_View):
    """The body of a callback."""

    type: str
    timestamp: Moment
    data: TaskView


def picture_link(task: Task, picture: Recognition, links: Links | None, at: datetime) -> str | None:
    """Where the annotated picture is, when one was saved."""
    if picture.media_key is None:
        return None
    if links is None:
        return image_path(task.id, picture.id)
    return links.image(task.id, picture.id, now=at)


def event_body(task: Task, event: EventType, *, at: datetime, links: Links) -> bytes:
    """The bytes of a callback, rendered once."""
    view = EventView(type=event.value, timestamp=at, data=TaskView.of(task, links=links))
    return view.model_dump_json().encode()


def _found(findings: Findings | None) -> dict[str, Any]:
    if findings is None:
        return {}
    return {
        "image": ImageView(width=findings.width, height=findings.height, channels=findings.channels),
        "counts": findings.counts,
        "areas": tuple(AreaView(index=area.index, counts=area.counts) for area in findings.areas),
        "total": findings.total,
        "objects": tuple(
            ObjectView(label=found.label, score=found.score, box=found.box, areas=found.areas)
            for found in findings.objects
        ),
        "timings_ms": findings.timings_ms,
    }
