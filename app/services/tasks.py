"""Tasks for a caller: submit, read, wait, list, cancel, retry, delete."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from time import monotonic
from typing import Any

from app.auth import Principal
from app.schemas.faults import Meaning, canonical_sha256, check_task, failure
from app.schemas.submission import TaskIn
from app.services.waiting import Waiting
from core.clock import utc_now
from core.domain.recognition import Recognition
from core.domain.routing import QueueName, member_of_task, queue_of
from core.domain.task import CallbackShape, Task, TaskStatus
from core.domain.wire import QueueView
from core.errors import Fault, MusterError, NotFound, QueueUnavailable, TaskIsFinal
from core.foundation import Foundation
from core.queue.events import Event, EventKind
from core.queue.inspect import QueueInspector
from core.queue.lease import Position
from core.store.changes import CancelKind, cancel_task, delete_task, retry_task
from core.store.submissions import SubmissionKind, Submissions, Submitted
from core.store.tasks import TaskFilter, find_by_client_id, get_by_recognition, get_task, list_tasks

MAX_WAIT_SECONDS = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What a submission brings beside its body."""

    idempotency_key: str | None = None
    client_id: str | None = None
    traceparent: str | None = None
    callback_shape: CallbackShape = CallbackShape.EVENT


class TaskService:
    """Use cases around tasks."""

    def __init__(
        self, base: Foundation, submissions: Submissions, waiting: Waiting, meaning: Meaning
    ) -> None:
        self._base, self._submissions, self._waiting = base, submissions, waiting
        self.meaning = meaning
        self._inspectors: dict[QueueName, QueueInspector] = {
            name: base.inspector(name) for name in (QueueName.RECOGNITION, QueueName.SOLO)
        }

    async def submit(self, raw: Any, asked: Asked, principal: Principal) -> Submitted:
        """Validate, commit and queue; raises ValidationFailed and what `Submissions.submit` raises."""
        new = await self._accept(raw, asked, principal)
        submitted = await self._submissions.submit(new)
        if submitted.superseded is not None:
            before = replace(submitted.superseded, status=TaskStatus.PENDING)
            await self._base.plan.withdraw([before])
            await self._tell(EventKind.ENDED, submitted.superseded)
        if submitted.kind is SubmissionKind.CREATED:
            await self._base.plan.enqueue_tasks([submitted.task])
        return submitted

    async def submit_batch(
        self, items: Sequence[Any], asked: Asked, principal: Principal
    ) -> list[Submitted | MusterError]:
        """Submit each on its own, side by side; they share transactions, not fates."""

        async def one(index: int, raw: Any) -> Submitted | MusterError:
            key = _item_key(asked.idempotency_key, index)
            try:
                return await self.submit(raw, replace(asked, idempotency_key=key), principal)
            except MusterError as error:
                return error

        return list(await asyncio.gather(*(one(index, raw) for index, raw in enumerate(items))))

    async def get(self, task_id: int, principal: Principal) -> Task:
        """One task; raises NotFound."""
        found = await get_task(self._base.db, task_id, system_code=principal.system_code)
        if found is None:
            raise NotFound("There is no such task.")
        return found

    async def get_by_picture(self, recognition_id: int, principal: Principal) -> Task:
        """The task of one of its pictures; raises NotFound."""
        found = await get_by_recognition(self._base.db, recognition_id, system_code=principal.system_code)
        if found is None:
            raise NotFound("There is no such task.")
        return found

    async def find(self, client_id: str, principal: Principal) -> Task | None:
        """The task under a client id, of the principal's system."""
        if principal.system_code is None:
            wanted = TaskFilter(client_id=client_id)
            return next(iter(await list_tasks(self._base.db, wanted, page_size=1)), None)
        return await find_by_client_id(self._base.db, client_id, system_code=principal.system_code)

    async def wait(self, task: Task, seconds: float, principal: Principal) -> Task:
        """The task when it has ended, or as it is when the time is over."""
        until = monotonic() + min(seconds, MAX_WAIT_SECONDS)
        while not task.is_final and (left := until - monotonic()) > 0:
            await self._waiting.wait(task.id, left)
            task = await self.get(task.id, principal)
        return task

    async def page(
        self, wanted: TaskFilter, *, page_size: int, before_id: int | None, principal: Principal
    ) -> list[Task]:
        """One page of the principal's tasks, newest first."""
        owned = (
            wanted if principal.system_code is None else replace(wanted, system_code=principal.system_code)
        )
        return await list_tasks(self._base.db, owned, page_size=page_size, before_id=before_id)

    async def cancel(self, task_id: int, principal: Principal) -> tuple[Task, CancelKind]:
        """End a waiting task or stop a running one; raises NotFound, TaskIsFinal."""
        met = await cancel_task(
            self._base.db, self._base.ids, self._base.promises, task_id, system_code=principal.system_code
        )
        if met.kind is CancelKind.FINAL:
            raise TaskIsFinal(f"The task is {met.task.status.value}.")
        if met.kind is CancelKind.WAITING:
            await self._base.plan.withdraw([met.task])
            await self._tell(EventKind.ENDED, met.task)
        else:
            await self._tell(EventKind.CANCEL, met.task)
        return met.task, met.kind

    async def retry(self, task_id: int, principal: Principal) -> Task:
        """Start a new series; raises NotFound, TaskNotFinal, TaskIsFinal."""
        after = await retry_task(self._base.db, self._base.ids, task_id, system_code=principal.system_code)
        await self._base.plan.enqueue_tasks([after])
        return after

    async def delete(self, task_id: int, principal: Principal) -> None:
        """Erase a final task with its pictures; raises NotFound, TaskNotFinal."""
        keys = await delete_task(self._base.db, task_id, system_code=principal.system_code)
        await self._base.media.delete(keys)

    async def queue_views(self, tasks: Sequence[Task]) -> dict[int, QueueView]:
        """Where waiting tasks stand, by id; nothing when Redis is away."""
        views: dict[int, QueueView] = {}
        for name, inspector in self._inspectors.items():
            waiting = [
                t for t in tasks if t.status is TaskStatus.PENDING and queue_of(crashes=t.crashes) is name
            ]
            with suppress(QueueUnavailable):
                positions = await inspector.positions([member_of_task(task) for task in waiting])
                views |= {task.id: _view(p) for task, p in zip(waiting, positions, strict=True)}
        return views

    async def _accept(self, raw: Any, asked: Asked, principal: Principal) -> Task:
        now = utc_now()
        body, faults = check_task(raw, self.meaning, now)
        code = raw.get("system_code") if isinstance(raw, dict) else None
        if principal.system_code is not None and code not in (None, principal.system_code):
            faults.append(Fault(pointer="/system_code", detail="is not the system of this API key"))
        if code is None and principal.system_code is None and isinstance(raw, dict):
            faults.append(Fault(pointer="/system_code", detail="is required: it names whose task this is"))
        if faults or body is None:
            raise failure(faults)
        owner = principal.system_code or body.system_code or ""
        await self._base.systems.ensure(owner)
        ids = await self._base.ids.take(1 + len(body.cameras))
        return self._entity(body, asked, owner, ids, now)

    def _entity(self, body: TaskIn, asked: Asked, owner: str, ids: list[int], now: datetime) -> Task:
        task_id, *picture_ids = ids
        return Task(
            id=task_id,
            system_code=owner,
            business_id=body.business_id,
            prompt=body.prompt,
            priority=body.priority,
            timeout_seconds=body.timeout_seconds,
            queue_ttl_seconds=body.queue_ttl_seconds,
            model=body.model,
            min_score=body.min_score,
            callback_url=body.callback_url,
            callback_events=tuple(event.value for event in body.callback_events),
            callback_shape=asked.callback_shape,
            metadata=body.metadata,
            client_id=asked.client_id,
            idempotency_key=asked.idempotency_key,
            request_sha256=canonical_sha256(body, owner),
            dedup_key=body.dedup.key if body.dedup else None,
            dedup_mode=body.dedup.mode.value if body.dedup else None,
            traceparent=asked.traceparent,
            cost=len(body.cameras),
            recognitions=tuple(
                self._picture(body, position, picture_id, task_id, now)
                for position, picture_id in enumerate(picture_ids)
            ),
        )

    def _picture(
        self, body: TaskIn, position: int, picture_id: int, task_id: int, now: datetime
    ) -> Recognition:
        camera = body.cameras[position]
        moment = self.meaning.moment(camera.capture_time, now)
        return Recognition(
            id=picture_id,
            task_id=task_id,
            position=position,
            camera_id=camera.camera_id,
            image_url=camera.image_url,
            model=self.meaning.model_of(body.model, moment),
            capture_time=moment,
            camera_size=camera.camera_size,
            monitor_areas=tuple(tuple((x, y) for x, y in polygon) for polygon in camera.monitor_areas),
        )

    async def _tell(self, kind: EventKind, task: Task) -> None:
        event = Event(
            kind=kind, id=task.id, system_code=task.system_code, attempt=task.attempt, status=task.status
        )
        with suppress(QueueUnavailable):
            await self._base.events.publish(event)


def _item_key(batch_key: str | None, index: int) -> str | None:
    """One key for a whole batch stands for one key per item; all fit the column."""
    if batch_key is None:
        return None
    return f"{hashlib.sha256(batch_key.encode()).hexdigest()}#{index}"


def _view(position: Position) -> QueueView:
    rank = position.rank
    return QueueView(
        position=rank,
        ahead=None if rank is None else rank - 1,
        eta_seconds=None if position.eta_seconds is None else round(position.eta_seconds, 1),
        limited_by="max_running" if position.limited else None,
    )
