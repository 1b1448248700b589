"""The operations on tasks and pictures, described."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from app.openapi.parts import (
    CREATED_AFTER,
    CREATED_BEFORE,
    IDEMPOTENCY_KEY,
    IF_NONE_MATCH,
    OF_BODY,
    OF_SUBMISSION,
    PAGE_SIZE,
    PAGE_TOKEN,
    PREFER,
    TASK_ID,
    TEXT,
    TRACEPARENT,
    WHOLE,
    Operation,
    Parameter,
    Reply,
)
from app.schemas.answers import BatchView, TaskPage
from app.schemas.outcomes import BulkView, HistoryView
from app.schemas.selection import TaskSelection
from app.schemas.submission import BatchIn, TaskIn
from core.domain.task import TaskStatus
from core.domain.wire import TaskView
from core.errors import (
    ClientIdReused,
    DatabaseUnavailable,
    MediaUnavailable,
    NotFound,
    TaskIsFinal,
    TaskNotFinal,
    ValidationFailed,
)

_LOCATION = {"Location": "Where the task is read"}
_REPEATED = {
    "Idempotent-Replayed": "`true` when an earlier request with the same key or client id is answered again",
    "Muster-Deduplicated": "`true` when a waiting task with the same dedup key was kept",
    "Preference-Applied": "The wait that was kept, when the task ended in time",
}
_HEADERS = (IDEMPOTENCY_KEY, PREFER, TRACEPARENT)
_ACCEPTED: Mapping[int, Reply] = {
    202: Reply(
        description="Accepted: stored for good. `queue` is null while Redis is away; it is queued later.",
        model=TaskView,
        headers=_LOCATION,
    ),
    200: Reply(
        description="A task that was there already, or one that ended within the preferred wait",
        model=TaskView,
        headers=_LOCATION | _REPEATED,
    ),
}


def _filter(name: str, schema: Mapping[str, Any], description: str, *, is_list: bool = False) -> Parameter:
    return Parameter(name=name, place="query", schema=schema, description=description, is_list=is_list)


TASKS = (
    Operation(
        method="post",
        path="/v1/tasks",
        tag="Tasks",
        name="submitTask",
        summary="Submit a task",
        parameters=_HEADERS,
        body=TaskIn,
        replies=_ACCEPTED,
        errors=OF_SUBMISSION,
    ),
    Operation(
        method="put",
        path="/v1/tasks/{client_id}",
        tag="Tasks",
        name="putTask",
        summary="Submit a task under an id of your own",
        description="The id is unique for ever within a system; `GET /v1/tasks?client_id=` finds the task.",
        parameters=(
            Parameter(
                name="client_id",
                place="path",
                schema={**TEXT, "pattern": "^[A-Za-z0-9._-]*[A-Za-z._-][A-Za-z0-9._-]*$"},
                description="1 to 64 characters, not only digits",
            ),
            *_HEADERS,
        ),
        body=TaskIn,
        replies=_ACCEPTED,
        errors=(*OF_SUBMISSION, ClientIdReused),
    ),
    Operation(
        method="post",
        path="/v1/tasks/batch",
        tag="Tasks",
        name="submitBatch",
        summary="Submit up to 500 tasks",
        description="One bad item never fails the others. An Idempotency-Key counts for each item by place.",
        parameters=(IDEMPOTENCY_KEY, TRACEPARENT),
        body=BatchIn,
        replies={200: Reply(description="What came of each item, in their order", model=BatchView)},
        errors=(*OF_BODY, DatabaseUnavailable),
    ),
    Operation(
        method="get",
        path="/v1/tasks/{task_id}",
        tag="Tasks",
        name="getTask",
        summary="Read a task in whatever state",
        parameters=(
            TASK_ID,
            _filter(
                "wait",
                {**WHOLE, "minimum": 0, "maximum": 3600, "default": 0},
                "Hold the answer until the task has ended, for so many seconds (60 at most)",
            ),
            IF_NONE_MATCH,
        ),
        replies={
            200: Reply(
                description="The task",
                model=TaskView,
                headers={"ETag": "For If-None-Match", "Retry-After": "Seconds, while it is not final"},
            ),
            304: Reply(description="As you know it", media_type=None, headers={"ETag": "The same"}),
        },
        errors=(NotFound, ValidationFailed, DatabaseUnavailable),
    ),
    Operation(
        method="get",
        path="/v1/tasks",
        tag="Tasks",
        name="listTasks",
        summary="List tasks, newest first",
        parameters=(
            _filter("status", {"enum": [s.value for s in TaskStatus]}, "One or several", is_list=True),
            _filter("business_id", TEXT, "Your reference"),
            _filter("camera_id", TEXT, "One of its cameras"),
            _filter("prompt", TEXT, "What was asked for"),
            _filter("client_id", TEXT, "Your own id, from PUT"),
            CREATED_AFTER,
            CREATED_BEFORE,
            PAGE_SIZE,
            PAGE_TOKEN,
        ),
        replies={200: Reply(description="One page", model=TaskPage)},
        errors=(ValidationFailed, DatabaseUnavailable),
    ),
    Operation(
        method="post",
        path="/v1/tasks/{task_id}/cancel",
        tag="Tasks",
        name="cancelTask",
        summary="Cancel a task",
        parameters=(TASK_ID,),
        replies={
            200: Reply(description="It was waiting and is cancelled", model=TaskView),
            202: Reply(description="It is running and is being stopped", model=TaskView),
        },
        errors=(NotFound, TaskIsFinal, DatabaseUnavailable),
    ),
    Operation(
        method="post",
        path="/v1/tasks/{task_id}/retry",
        tag="Tasks",
        name="retryTask",
        summary="Start a new series of attempts of a failed, cancelled or expired task",
        description="Pictures that are recognised already are kept.",
        parameters=(TASK_ID,),
        replies={202: Reply(description="It waits again", model=TaskView)},
        errors=(NotFound, TaskIsFinal, TaskNotFinal, DatabaseUnavailable),
    ),
    Operation(
        method="get",
        path="/v1/tasks/{task_id}/history",
        tag="Tasks",
        name="getTaskHistory",
        summary="How a task came to its state, and what became of its callbacks",
        parameters=(TASK_ID,),
        replies={200: Reply(description="Oldest first; replies are shown to operators", model=HistoryView)},
        errors=(NotFound, DatabaseUnavailable),
    ),
    *(
        Operation(
            method="post",
            path=f"/v1/tasks/{verb}",
            tag="Tasks",
            name=f"{verb}Tasks",
            summary=f"{verb.capitalize()} tasks by filter or ids",
            description="Each as by the single call; what cannot be changed is left out. Up to 5,000 in one "
            "request, in batches; `dry_run` tells how many there are.",
            body=TaskSelection,
            replies={200: Reply(description="How many", model=BulkView)},
            errors=(*OF_BODY, DatabaseUnavailable),
        )
        for verb in ("cancel", "retry")
    ),
    Operation(
        method="delete",
        path="/v1/tasks/{task_id}",
        tag="Tasks",
        name="deleteTask",
        summary="Erase a final task, its pictures and its callbacks",
        parameters=(TASK_ID,),
        replies={204: Reply(description="Erased", media_type=None)},
        errors=(NotFound, TaskNotFinal, DatabaseUnavailable, MediaUnavailable),
    ),
)
