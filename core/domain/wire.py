"""A task as callers see it: the answer of the HTTP interface and the body of a callback.

Ids are decimal strings, for 64 bits do not fit a JavaScript number; times are RFC 3339 in UTC
with milliseconds.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, JsonValue, PlainSerializer, WithJsonSchema

from core.domain.delivery import EventType
from core.domain.links import Links, image_path, task_path
from core.domain.recognition import ErrorNote, Recognition, RecognitionStatus
from core.domain.task import Task, TaskStatus


def rfc3339(moment: datetime) -> str:
    """The moment in UTC with milliseconds, `2026-11-22T07:30:00.000Z`."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"


Timestamp = Annotated[
    datetime,
    PlainSerializer(rfc3339, return_type=str),
    WithJsonSchema({"type": "string", "format": "date-time"}),
]
DecimalId = Annotated[str, Field(pattern=r"^[0-9]{1,20}$", examples=["7391224518873088"])]


class WireModel(BaseModel):
    """Something that goes out; `serialize_by_alias` for names that Python keeps for itself."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        serialize_by_alias=True,
        validate_by_name=True,
        json_schema_serialization_defaults_required=True,
    )

    def to_bytes(self) -> bytes:
        """The JSON as it is sent."""
        return self.model_dump_json().encode()


class ErrorView(WireModel):
    """Why something failed: a stable code and a sentence for people."""

    code: str
    message: str

    @classmethod
    def of(cls, note: ErrorNote | None) -> Self | None:
        """The view of a note, if there is one."""
        return None if note is None else cls(code=note.code, message=note.message)


class QueueView(WireModel):
    """Where a waiting task stands at this moment."""

    position: int | None = Field(description="1 = next; null while it waits for a later try or is limited")
    ahead: int | None = Field(description="How many are served before it")
    eta_seconds: float | None = Field(
        description="From the measured rate of service; null until there is one"
    )
    limited_by: Literal["max_running"] | None = Field(
        None, description="What holds it back, if anything does"
    )


class ImagesView(WireModel):
    """How many pictures have ended."""

    total: int
    completed: int
    failed: int


class ImageView(WireModel):
    """The upright picture's size in pixels."""

    width: int
    height: int
    channels: int


class ObjectView(WireModel):
    """One object that matches the prompt."""

    label: str
    score: float
    box: tuple[float, float, float, float] = Field(description="x1, y1, x2, y2 in pixels, upright")
    areas: tuple[int, ...] = Field(description="Indices of the monitor areas it stands in")


class AreaView(WireModel):
    """What was counted in one monitor area."""

    index: int
    counts: dict[str, int]


class RecognitionView(WireModel):
    """One picture of a task and what was found in it."""

    id: DecimalId
    camera_id: str
    status: RecognitionStatus
    model: str
    image: ImageView | None = Field(description="Null until recognised")
    counts: dict[str, int]
    areas: tuple[AreaView, ...]
    total: int | None = Field(description="Null until recognised")
    objects: tuple[ObjectView, ...]
    recognition_url: str | None = Field(description="The annotated picture")
    timings_ms: dict[str, float]
    error: ErrorView | None = Field(description="Why it failed, or what a completed one is without")

    @classmethod
    def of(cls, picture: Recognition, *, recognition_url: str | None) -> Self:
        """The view of a picture."""
        found = picture.findings
        return cls(
            id=str(picture.id),
            camera_id=picture.camera_id,
            status=picture.status,
            model=picture.model,
            image=found and ImageView(width=found.width, height=found.height, channels=found.channels),
            counts=found.counts if found else {},
            areas=tuple(AreaView(index=a.index, counts=a.counts) for a in found.areas) if found else (),
            total=found.total if found else None,
            objects=tuple(
                ObjectView(label=o.label, score=o.score, box=o.box, areas=o.areas)
                for o in (found.objects if found else ())
            ),
            recognition_url=recognition_url if picture.media_key is not None else None,
            timings_ms=found.timings_ms if found else {},
            error=ErrorView.of(picture.error),
        )


class UrlsView(WireModel):
    """What can be asked next."""

    self_: str = Field(alias="self")
    cancel: str


class TaskView(WireModel):
    """One task."""

    id: DecimalId
    status: TaskStatus
    business_id: str
    system_code: str
    prompt: str
    priority: int
    attempt: int
    created_at: Timestamp
    started_at: Timestamp | None
    completed_at: Timestamp | None
    error: ErrorView | None
    metadata: dict[str, JsonValue]
    queue: QueueView | None = Field(description="Null unless it waits, and while Redis is away")
    images: ImagesView
    next_attempt_at: Timestamp | None
    task_num: int = Field(description="The sum of `total` over the recognised pictures")
    recognitions: tuple[RecognitionView, ...] = Field(description="One for each camera, in their order")
    urls: UrlsView

    @classmethod
    def of(
        cls,
        task: Task,
        *,
        queue: QueueView | None = None,
        links: Links | None = None,
        at: datetime | None = None,
    ) -> Self:
        """The view of a stored task.

        Args:
            task: With `created_at`, that is accepted.
            queue: Where it waits.
            links: Given for callbacks: absolute links, those of pictures signed.
            at: The time from which signed links are good for their while.
        """
        return cls(
            id=str(task.id),
            status=task.status,
            business_id=task.business_id,
            system_code=task.system_code,
            prompt=task.prompt,
            priority=task.priority,
            attempt=task.attempt,
            created_at=accepted_at(task),
            started_at=task.started_at,
            completed_at=task.completed_at,
            error=ErrorView.of(task.error),
            metadata=task.metadata,
            queue=None if task.status is not TaskStatus.PENDING else queue,
            images=ImagesView(
                total=task.images_total, completed=task.images_completed, failed=task.images_failed
            ),
            next_attempt_at=task.next_attempt_at,
            task_num=task.task_num,
            recognitions=tuple(
                RecognitionView.of(r, recognition_url=image_url(r, links, at)) for r in task.recognitions
            ),
            urls=_urls(task, links),
        )


class EventView(WireModel):
    """The body of a callback."""

    type: EventType
    timestamp: Timestamp
    data: TaskView


def event_body(task: Task, event: EventType, *, at: datetime, links: Links) -> bytes:
    """The bytes of a callback: what happened, when, and the task as it was then."""
    return EventView(type=event, timestamp=at, data=TaskView.of(task, links=links, at=at)).to_bytes()


def accepted_at(task: Task) -> datetime:
    """When a stored task was accepted; raises ValueError for one that is not stored."""
    if task.created_at is None:
        raise ValueError(f"{task!r} has not been accepted yet")
    return task.created_at


def image_url(picture: Recognition, links: Links | None, at: datetime | None) -> str | None:
    """The link of a saved picture: signed and absolute when `links` and `at` are given, else a path."""
    if picture.media_key is None:
        return None
    if links is None or at is None:
        return image_path(picture.task_id, picture.id)
    return links.image(picture.task_id, picture.id, now=at)


def _urls(task: Task, links: Links | None) -> UrlsView:
    path = task_path(task.id)
    base = path if links is None else links.absolute(path)
    return UrlsView(self_=base, cancel=f"{base}/cancel")
