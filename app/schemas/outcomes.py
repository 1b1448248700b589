"""What goes out when the service, a tenant or many tasks were changed, and a task's timeline."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, PlainSerializer, WithJsonSchema

from app.schemas.answers import DeliveryView
from core.domain.delivery import Delivery
from core.domain.routing import QueueName
from core.domain.task import TaskStatus
from core.domain.wire import Timestamp
from core.store.delivery_log import LoggedTry
from core.store.tasks import HistoryLine

WrittenId = Annotated[
    int, PlainSerializer(str, return_type=str), WithJsonSchema({"type": "string", "pattern": "^[0-9]+$"})
]


class BulkView(BaseModel):
    """What came of a change to many."""

    model_config = ConfigDict(from_attributes=True)

    dry_run: bool
    matched: int = Field(description="How many met the filter and could be changed")
    changed: int = Field(description="How many were changed; 0 for a dry run")
    has_more: bool = Field(description="More are left than one request changes: repeat it")


class HistoryLineView(BaseModel):
    """One change of a task's state."""

    model_config = ConfigDict(validate_by_name=True)

    at: Timestamp
    from_status: TaskStatus | None = Field(alias="from", description="Null for the submission")
    to_status: TaskStatus = Field(alias="to")
    attempt: int
    why: str


class HistoryView(BaseModel):
    """A task's timeline, oldest first, and its callbacks with their tries."""

    items: list[HistoryLineView]
    deliveries: list[DeliveryView]

    @classmethod
    def of(
        cls,
        lines: list[HistoryLine],
        deliveries: list[tuple[Delivery, list[LoggedTry]]],
        *,
        with_replies: bool,
    ) -> HistoryView:
        """The view of what the rows tell; replies are for operators."""
        names = HistoryLineView.model_fields
        return cls(
            items=[HistoryLineView(**{name: getattr(line, name) for name in names}) for line in lines],
            deliveries=[
                DeliveryView.of(sent, tries, with_replies=with_replies) for sent, tries in deliveries
            ],
        )


class PausedView(BaseModel):
    """Whether a queue is paused."""

    queue: QueueName
    paused: bool


class SecretView(BaseModel):
    """A new callback secret; shown by `muster systems show` too."""

    model_config = ConfigDict(from_attributes=True)

    secret: str
    old_secret_until: Timestamp = Field(description="Callbacks are signed with both secrets until then")


class CallbackTrialView(BaseModel):
    """What a receiver answered to a callback to try."""

    model_config = ConfigDict(from_attributes=True)

    webhook_id: WrittenId
    received: bool = Field(description="Whether the answer counts as received")
    status_code: int | None
    duration_ms: float
    error_code: str | None = Field(serialization_alias="error")
    reply: str | None = Field(description="Its beginning, shown to operators")
