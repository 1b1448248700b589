"""The envelope profile: the same service in other words."""

from __future__ import annotations

from app.auth import Principal
from app.services.tasks import TaskService
from core.clock import utc_now
from core.domain.envelope import EnvelopeAccepted, EnvelopeTask
from core.domain.task import Task
from core.errors import NotFound
from core.foundation import Foundation


class EnvelopeService:
    """Submits and reads tasks in the profile's shape."""

    def __init__(self, base: Foundation, tasks: TaskService) -> None:
        self._base, self._tasks = base, tasks

    async def submit(self, draft: Task) -> EnvelopeAccepted:
        """Accept a task that is called back in the profile's shape; raises as TaskService.submit does."""
        task = (await self._tasks.submit(draft)).task
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
