"""`/v1/tasks`: parse, one service call, serialise."""

from __future__ import annotations

import re
from typing import Any

from quart import Blueprint, Response, g, request

from app.auth import Principal
from app.context import context
from app.problems import problem_of
from app.requests import (
    MAX_PAGE_SIZE,
    PAGE_SIZE,
    asked,
    identifier,
    json_body,
    next_page_token,
    number,
    page_token,
    preferred_wait,
    principal,
    task_filter,
)
from app.responses import JSON, json_response, tagged_response
from app.schemas.answers import BatchItem, BatchView, TaskPage
from app.schemas.outcomes import BulkView, HistoryView
from app.schemas.reading import Asked, read_batch, read_task
from app.schemas.selection import read_task_selection
from app.services.tasks import MAX_WAIT_SECONDS
from core.domain.task import Task
from core.domain.wire import TaskView
from core.errors import Fault, MusterError, ValidationFailed
from core.store.bulk import BulkChange
from core.store.changes import CancelKind
from core.store.submissions import SubmissionKind, Submitted

tasks = Blueprint("tasks", __name__)

RETRY_AFTER_SECONDS = "1"
_CLIENT_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")


async def _view(task: Task) -> TaskView:
    return TaskView.of(task, queue=(await context().tasks.queue_views([task])).get(task.id))


async def _submitted(submitted: Submitted) -> Response:
    """202 for a new task, 200 for one that was there; waited for when the caller prefers it."""
    task, kind = submitted.task, submitted.kind
    headers = {"Location": f"/v1/tasks/{task.id}"}
    if kind is SubmissionKind.REPLAYED:
        headers["Idempotent-Replayed"] = "true"
    if kind is SubmissionKind.DEDUPLICATED:
        headers["Muster-Deduplicated"] = "true"
    seconds = preferred_wait()
    if seconds is not None:
        task = await context().tasks.wait(task, seconds, await principal())
        if task.is_final:
            headers["Preference-Applied"] = f"wait={min(seconds, int(MAX_WAIT_SECONDS))}"
    is_new = kind is SubmissionKind.CREATED and not (task.is_final and seconds is not None)
    return json_response(await _view(task), 202 if is_new else 200, headers)


@tasks.post("/v1/tasks")
async def submit() -> Response:
    """Accept one task."""
    who, body = await principal(), await json_body()
    return await _submitted(await context().tasks.submit(read_task(body, asked(), who, context().meaning)))


@tasks.put("/v1/tasks/<client_id>")
async def put(client_id: str) -> Response:
    """Accept one task under the caller's own id."""
    who = await principal()
    if not _CLIENT_ID.fullmatch(client_id) or client_id.isdigit():
        detail = "must be 1 to 64 of A-Z a-z 0-9 . _ - and not only digits"
        raise ValidationFailed([Fault(pointer="/client_id", detail=detail)])
    draft = read_task(await json_body(), asked(client_id), who, context().meaning)
    return await _submitted(await context().tasks.submit(draft))


@tasks.post("/v1/tasks/batch")
async def submit_batch() -> Response:
    """Accept many tasks; each item has its own outcome."""
    who, items, brought = await principal(), read_batch(await json_body()), asked()
    outcomes = await context().tasks.submit_batch([_draft(item, brought, who) for item in items])
    views = await context().tasks.queue_views([o.task for o in outcomes if isinstance(o, Submitted)])
    return json_response(BatchView(items=[_item(outcome, views) for outcome in outcomes]))


def _draft(item: Any, brought: Asked, who: Principal) -> Task | MusterError:
    try:
        return read_task(item, brought, who, context().meaning)
    except MusterError as error:
        return error


def _item(outcome: Submitted | MusterError, views: dict[int, Any]) -> BatchItem:
    if isinstance(outcome, Submitted):
        view = TaskView.of(outcome.task, queue=views.get(outcome.task.id))
        return BatchItem(status=202 if outcome.kind is SubmissionKind.CREATED else 200, task=view)
    problem = problem_of(outcome, instance=request.path, request_id=g.request_id)
    return BatchItem(status=problem.status, problem=problem)


@tasks.get("/v1/tasks/<task_id>")
async def get(task_id: str) -> Response:
    """Show one task in whatever state; `wait` holds the answer until it has ended."""
    who = await principal()
    seconds = number("wait", 0, least=0, most=3600)
    task = await context().tasks.get(identifier(task_id), who)
    if seconds:
        task = await context().tasks.wait(task, seconds, who)
    headers = {} if task.is_final else {"Retry-After": RETRY_AFTER_SECONDS}
    return tagged_response((await _view(task)).to_bytes(), JSON, headers)


@tasks.get("/v1/tasks")
async def page() -> Response:
    """List tasks, newest first."""
    who = await principal()
    size = number("page_size", PAGE_SIZE, least=1, most=MAX_PAGE_SIZE)
    found = await context().tasks.page(
        task_filter(), page_size=size + 1, before_id=page_token(), principal=who
    )
    views = await context().tasks.queue_views(found[:size])
    items = [TaskView.of(task, queue=views.get(task.id)) for task in found[:size]]
    token = next_page_token(found[size - 1].id) if len(found) > size else None
    return json_response(TaskPage(items=items, next_page_token=token))


@tasks.get("/v1/tasks/<task_id>/history")
async def history(task_id: str) -> Response:
    """Show how a task came to its state, and what became of its callbacks."""
    who = await principal()
    lines, sent = await context().tasks.history(identifier(task_id), who)
    return json_response(HistoryView.of(lines, sent, with_replies=who.is_admin))


@tasks.post("/v1/tasks/cancel")
async def cancel_many() -> Response:
    """Cancel tasks by filter or ids."""
    return await _change_many(BulkChange.CANCEL)


@tasks.post("/v1/tasks/retry")
async def retry_many() -> Response:
    """Retry tasks by filter or ids."""
    return await _change_many(BulkChange.RETRY)


async def _change_many(change: BulkChange) -> Response:
    who = await principal()
    wanted, dry_run = read_task_selection(await json_body(), who, context().meaning)
    outcome = await context().bulk.change_tasks(change, wanted, who, dry_run=dry_run)
    return json_response(BulkView.model_validate(outcome))


@tasks.post("/v1/tasks/<task_id>/cancel")
async def cancel(task_id: str) -> Response:
    """Cancel a task: 200 when it was waiting, 202 when it is being stopped."""
    task, kind = await context().tasks.cancel(identifier(task_id), await principal())
    return json_response(await _view(task), 200 if kind is CancelKind.WAITING else 202)


@tasks.post("/v1/tasks/<task_id>/retry")
async def retry(task_id: str) -> Response:
    """Start a new series of attempts."""
    task = await context().tasks.retry(identifier(task_id), await principal())
    return json_response(await _view(task), 202)


@tasks.delete("/v1/tasks/<task_id>")
async def delete(task_id: str) -> Response:
    """Erase a final task."""
    await context().tasks.delete(identifier(task_id), await principal())
    return Response(status=204)
