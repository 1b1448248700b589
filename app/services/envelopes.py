"""The envelope profile: the same service in other words."""

from __future__ import annotations

from typing import Any

from app.auth import Principal
from app.services.tasks import Asked, TaskService
from core.clock import utc_now
from core.domain.envelope import EnvelopeAccepted, EnvelopeTask
from core.domain.task import CallbackShape, Task
from core.errors import Fault, NotFound, ValidationFailed
from core.foundation import Foundation

_REQUIRED = ("business_id", "system_code", "callback_url", "prompt", "cameras")
_REQUIRED_OF_CAMERA = ("camera_id", "camera_size", "monitor_areas", "capture_time", "image_url")


class EnvelopeService:
    """Submits and reads tasks in the profile's shape."""

    def __init__(self, base: Foundation, tasks: TaskService) -> None:
        self._base, self._tasks = base, tasks

    async def submit(self, raw: Any, principal: Principal, asked: Asked) -> EnvelopeAccepted:
        """Accept a task that is called back in the profile's shape; raises as TaskService.submit does."""
        missing = _missing(raw)
        if missing:
            raise ValidationFailed(missing)
        shaped = Asked(
            idempotency_key=asked.idempotency_key,
            traceparent=asked.traceparent,
            callback_shape=CallbackShape.ENVELOPE,
        )
        task = (await self._tasks.submit(raw, shaped, principal)).task
        view = (await self._tasks.queue_views([task])).get(task.id)
        return EnvelopeAccepted(
            id=str(task.id),
            task_status=task.status,
            position=None if view is None else view.position,
        )

    async def get(self, some_id: int, principal: Principal) -> EnvelopeTask:
        """A task by its id or by one of its pictures'; raises NotFound."""
        task = await self._find(some_id, principal)
        return EnvelopeTask.of(task, links=self._base.links, zone=self._base.settings.zone, at=utc_now())

    async def _find(self, some_id: int, principal: Principal) -> Task:
        try:
            return await self._tasks.get(some_id, principal)
        except NotFound:
            return await self._tasks.get_by_picture(some_id, principal)


def _missing(raw: Any) -> list[Fault]:
    """Every field of the profile that is not there; all are required."""
    if not isinstance(raw, dict):
        return []
    faults = [Fault(pointer=f"/{name}", detail="Field required") for name in _REQUIRED if name not in raw]
    cameras = raw.get("cameras")
    for index, camera in enumerate(cameras if isinstance(cameras, list) else []):
        faults += [
            Fault(pointer=f"/cameras/{index}/{name}", detail="Field required")
            for name in _REQUIRED_OF_CAMERA
            if isinstance(camera, dict) and name not in camera
        ]
    return faults
