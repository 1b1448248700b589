"""Tasks for a caller: submit, read, wait, list, cancel, retry, delete."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from time import monotonic

from app.auth import Principal
from app.services.waiting import Waiting
from core.domain.delivery import Delivery
from core.domain.routing import QueueName, member_of_task, queue_of
from core.domain.task import Task, TaskStatus
from core.domain.wire import QueueView
from core.errors import MusterError, NotFound, QueueUnavailable, TaskIsFinal
from core.foundation import Foundation
from core.queue.events import Event, EventKind
from core.queue.inspect import QueueInspector
from core.queue.lease import Position
from core.store.changes import CancelKind, Cancelled, cancel_task, delete_task, retry_task
from core.store.delivery_log import LoggedTry, list_tries
from core.store.submissions import SubmissionKind, Submissions, Submitted
from core.store.tasks import (
    HistoryLine,
    TaskFilter,
    find_by_client_id,
    get_by_recognition,
    get_task,
    list_tasks,
    read_history,
)
from core.testpoints import reach

MAX_WAIT_SECONDS = 60.0


class TaskService:
    """Use cases around tasks."""

    def __init__(self, base: Foundation, submissions: Submissions, waiting: Waiting) -> None:
        self._base, self._submissions, self._waiting = base, submissions, waiting
        self._inspectors: dict[QueueName, QueueInspector] = {
            name: base.inspector(name) for name in (QueueName.RECOGNITION, QueueName.SOLO)
        }

    async def submit(self, draft: Task) -> Submitted:
        """Commit and queue a task that has everything but ids; raises what `Submissions.submit` raises."""
        await self._base.systems.ensure(draft.system_code)
        submitted = await self._submissions.submit(await self._numbered(draft))
        reach("submission.committed")
        if submitted.superseded is not None:
            await self._base.plan.withdraw([submitted.superseded])
            await self._base.plan.enqueue_deliveries(submitted.deliveries)
            await self._tell(EventKind.ENDED, submitted.superseded)
        if submitted.kind is SubmissionKind.CREATED:
            await self._base.plan.enqueue_tasks([submitted.task])
            reach("submission.queued")
        return submitted

    async def submit_batch(self, drafts: Sequence[Task | MusterError]) -> list[Submitted | MusterError]:
        """Submit each on its own, side by side; they share transactions, not fates."""

        async def one(index: int, draft: Task | MusterError) -> Submitted | MusterError:
            if isinstance(draft, MusterError):
                return draft
            try:
                key = _item_key(draft.idempotency_key, index)
                return await self.submit(replace(draft, idempotency_key=key))
            except MusterError as error:
                return error

        return list(await asyncio.gather(*(one(index, draft) for index, draft in enumerate(drafts))))

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
        """The task when it has ended, or as it is when the time is over or this process is about to end."""
        until = monotonic() + min(seconds, MAX_WAIT_SECONDS)
        with self._waiting.watch(task.id) as watch:
            while not task.is_final and (left := until - monotonic()) > 0 and not self._waiting.is_over:
                task = await self.get(task.id, principal)
                if not task.is_final and not self._waiting.is_over:
                    await watch.wait(left)
        return task if task.is_final else await self.get(task.id, principal)

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
        reach("cancel.committed")
        await self.follow_cancel([met])
        return met.task, met.kind

    async def follow_cancel(self, met: Sequence[Cancelled]) -> None:
        """Do after the commit what cancellations ask for: entries out, callbacks in, everybody told."""
        ended = [one.task for one in met if one.kind is CancelKind.WAITING]
        stopping = [one.task for one in met if one.kind is CancelKind.RUNNING]
        await self._base.plan.withdraw(ended)
        await self._base.plan.enqueue_deliveries([sent for one in met for sent in one.deliveries])
        await self._tell(EventKind.ENDED, *ended)
        await self._tell(EventKind.CANCEL, *stopping)

    async def retry(self, task_id: int, principal: Principal) -> Task:
        """Start a new series; raises NotFound, TaskNotFinal, TaskIsFinal."""
        after = await retry_task(self._base.db, self._base.ids, task_id, system_code=principal.system_code)
        await self._base.plan.enqueue_tasks([after])
        return after

    async def history(
        self, task_id: int, principal: Principal
    ) -> tuple[list[HistoryLine], list[tuple[Delivery, list[LoggedTry]]]]:
        """How a task came to its state, and its callbacks with their tries; raises NotFound."""
        await self.get(task_id, principal)
        return await read_history(self._base.db, task_id), await list_tries(self._base.db, task_id)

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

    async def _numbered(self, draft: Task) -> Task:
        task_id, *picture_ids = await self._base.ids.take(1 + len(draft.recognitions))
        pictures = zip(draft.recognitions, picture_ids, strict=True)
        return replace(
            draft,
            id=task_id,
            recognitions=tuple(replace(picture, id=i, task_id=task_id) for picture, i in pictures),
        )

    async def _tell(self, kind: EventKind, *tasks: Task) -> None:
        events = [
            Event(kind=kind, id=one.id, system_code=one.system_code, attempt=one.attempt, status=one.status)
            for one in tasks
        ]
        with suppress(QueueUnavailable):
            await self._base.events.publish(*events)


def _item_key(batch_key: str | None, index: int) -> str | None:
    """One key for a whole batch stands for one key per item; all fit the column."""
    if batch_key is None:
        return None
    return f"{hashlib.sha256(batch_key.encode()).hexdigest()}#{index}"


def _view(position: Position) -> QueueView:
    # Claimed and about to start: nothing is before it.
    rank = 1 if position.leased else position.rank
    return QueueView(
        position=rank,
        ahead=None if rank is None else rank - 1,
        eta_seconds=None if position.eta_seconds is None else round(position.eta_seconds, 1),
        limited_by="max_running" if position.limited else None,
    )
