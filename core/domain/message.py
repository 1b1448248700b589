"""A task as it travels in the queue, so that its first attempt needs no read of the row.

A message is written once, when a task is accepted, and says what was asked; what has happened
since is the row's to tell. Enums travel by name, times as RFC 3339, ids as numbers.
"""

from __future__ import annotations

from datetime import datetime
from enum import Enum
from typing import Annotated, Any, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, JsonValue, PlainSerializer

from core.domain.recognition import Recognition, RecognitionStatus
from core.domain.task import CallbackShape, Task, TaskStatus


class _FromName:
    """Reads an enum's member from its name."""

    def __init__(self, kind: type[Enum]) -> None:
        self._kind = kind

    def __call__(self, value: Any) -> Any:
        if isinstance(value, self._kind):
            return value
        try:
            return self._kind[value]
        except KeyError:
            known = ", ".join(self._kind.__members__)
            raise ValueError(f"{value!r} is not the name of a {self._kind.__name__}: {known}") from None


def _name(member: Enum) -> str:
    return member.name


_BY_NAME = PlainSerializer(_name, return_type=str)
TaskStatusName = Annotated[TaskStatus, BeforeValidator(_FromName(TaskStatus)), _BY_NAME]
CallbackShapeName = Annotated[CallbackShape, BeforeValidator(_FromName(CallbackShape)), _BY_NAME]
RecognitionStatusName = Annotated[RecognitionStatus, BeforeValidator(_FromName(RecognitionStatus)), _BY_NAME]


class _Message(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", from_attributes=True)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read it back; raises ValueError when it is not one."""
        return cls.model_validate_json(text)

    def to_json(self) -> str:
        """The message as one line of JSON; what has its default is left out."""
        return self.model_dump_json(exclude_defaults=True)


class RecognitionMessage(_Message):
    """One picture to look at."""

    id: int
    task_id: int
    position: int
    camera_id: str
    image_url: str
    model: str
    capture_time: datetime
    camera_size: tuple[int, int] | None = None
    monitor_areas: tuple[tuple[tuple[float, float], ...], ...] = ()
    status: RecognitionStatusName = RecognitionStatus.PENDING

    @classmethod
    def of(cls, recognition: Recognition) -> Self:
        """The message of a picture."""
        return cls.model_validate(recognition)

    def to_recognition(self) -> Recognition:
        """The entity, without findings."""
        return Recognition(**_fields(self))


class TaskMessage(_Message):
    """One task with its pictures: what an execution needs and what its callbacks tell."""

    id: int
    system_code: str
    business_id: str
    prompt: str
    status: TaskStatusName = TaskStatus.PENDING
    priority: int = 5
    timeout_seconds: int = 60
    queue_ttl_seconds: int = 86400
    model: str | None = None
    min_score: float | None = None
    callback_url: str | None = None
    callback_events: tuple[str, ...] = ()
    callback_shape: CallbackShapeName = CallbackShape.EVENT
    metadata: dict[str, JsonValue] = {}
    traceparent: str | None = None
    cost: int = 1
    attempt: int = 0
    failures: int = 0
    crashes: int = 0
    series: int = 1
    created_at: datetime | None = None
    next_attempt_at: datetime | None = None
    queue_expires_at: datetime | None = None
    recognitions: tuple[RecognitionMessage, ...] = ()

    @classmethod
    def of(cls, task: Task) -> Self:
        """The message of a task."""
        return cls.model_validate(task)

    def to_task(self) -> Task:
        """The entity, with its pictures."""
        pictures = tuple(message.to_recognition() for message in self.recognitions)
        return Task(**_fields(self) | {"recognitions": pictures})


def _fields(message: BaseModel) -> dict[str, Any]:
    """The fields as they are; a dump would turn nested messages into dicts."""
    return {name: getattr(message, name) for name in type(message).model_fields}
