"""Which callbacks a task's change of state promises, and their bytes."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from urllib.parse import SplitResult, urlsplit
from zoneinfo import ZoneInfo

from core.domain.delivery import Delivery, EventType
from core.domain.envelope import envelope_body
from core.domain.links import Links
from core.domain.recognition import Recognition
from core.domain.routing import flow_of_host
from core.domain.task import CallbackShape, Task, TaskStatus
from core.domain.wire import event_body

EVENT_OF_END: dict[TaskStatus, EventType] = {
    TaskStatus.COMPLETED: EventType.COMPLETED,
    TaskStatus.FAILED: EventType.FAILED,
    TaskStatus.CANCELLED: EventType.CANCELLED,
    TaskStatus.EXPIRED: EventType.EXPIRED,
}

_USUAL_PORTS = (None, 80, 443)


@dataclass(frozen=True, slots=True, kw_only=True)
class Promises:
    """Makes deliveries; the bytes are rendered once, here, and sent unchanged on every try."""

    links: Links
    zone: ZoneInfo

    def of(
        self,
        task: Task,
        event: EventType,
        delivery_id: int,
        at: datetime,
        recognition: Recognition | None = None,
    ) -> Delivery | None:
        """The delivery of `event`; None when the task's caller did not ask for it."""
        if task.callback_url is None or event not in task.callback_events:
            return None
        if task.callback_shape is CallbackShape.ENVELOPE:
            body = envelope_body(task, at=at, links=self.links, zone=self.zone)
        else:
            body = event_body(task, event, at=at, links=self.links)
        receiver = urlsplit(task.callback_url)
        return Delivery(
            id=delivery_id,
            task_id=task.id,
            system_code=task.system_code,
            event=event,
            url=task.callback_url,
            host=receiver.hostname or "",
            flow=_flow(receiver),
            body=body,
            series=task.series,
            recognition_id=recognition.id if recognition is not None else 0,
            created_at=at,
            traceparent=task.traceparent,
        )


def _flow(receiver: SplitResult) -> str:
    """The receiver's flow: its host, and its port unless it is a usual one.

    Two ports are two programs: one that is dead must not hold up the other.
    """
    host = receiver.hostname or ""
    return flow_of_host(host if receiver.port in _USUAL_PORTS else f"{host}:{receiver.port}")
