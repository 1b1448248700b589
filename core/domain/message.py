"""What travels through Redis beside an entry: all that an execution needs of a task."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict

from core.domain.recognition import Recognition
from core.domain.task import CallbackShape, Task


class RecognitionMessage(BaseModel):
    """One open picture."""

    model_config = ConfigDict(frozen=True)

    id: int
    position: int
    camera_id: str
    image_url: str
    model: str
    capture_time: datetime
    camera_size: tuple[int, int] | None = None
    monitor_areas: tuple[tuple[tuple[float, float], ...], ...] = ()

    @classmethod
    def of(cls, picture: Recognition) -> RecognitionMessage:
        """The message of a picture."""
        return cls(**{name: getattr(picture, name) for name in cls.model_fields})

    def to_recognition(self, task_id: int) -> Recognition:
        """The picture of a message, not begun."""
        return Recognition(task_id=task_id, **{name: getattr(self, name) for name in type(self).model_fields})


class TaskMessage(BaseModel):
    """One task before its first attempt, with its pictures; enums travel by name."""

    model_config = ConfigDict(frozen=True)

    id: int
    system_code: str
    business_id: str
    prompt: str
    priority: int
    timeout_seconds: int
    queue_ttl_seconds: int
    cost: int
    request_sha256: str
    created_at: datetime | None
    callback_shape: str
    model: str | None = None
    min_score: float | None = None
    callback_url: str | None = None
    callback_events: tuple[str, ...] = ()
    metadata: dict[str, Any] = {}
    client_id: str | None = None
    traceparent: str | None = None
    recognitions: tuple[RecognitionMessage, ...]

    @classmethod
    def of(cls, task: Task) -> TaskMessage:
        """The message of a task."""
        own = set(cls.model_fields) - {"callback_shape", "recognitions"}
        return cls(
            **{name: getattr(task, name) for name in own},
            callback_shape=task.callback_shape.name,
            recognitions=tuple(RecognitionMessage.of(picture) for picture in task.recognitions),
        )

    def to_json(self) -> str:
        """The message as it stands in Redis; what has its default is left out."""
        return self.model_dump_json(exclude_defaults=True)

    @classmethod
    def from_json(cls, text: str) -> TaskMessage:
        """Read a message back; raises pydantic.ValidationError."""
        return cls.model_validate_json(text)

    def to_task(self) -> Task:
        """The task of a message, pending."""
        own = set(type(self).model_fields) - {"callback_shape", "recognitions"}
        return Task(
            **{name: getattr(self, name) for name in own},
            callback_shape=CallbackShape[self.callback_shape],
            recognitions=tuple(picture.to_recognition(self.id) for picture in self.recognitions),
        )
