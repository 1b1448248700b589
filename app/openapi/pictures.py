"""The operations on pictures and the envelope profile, described."""

from __future__ import annotations

from app.openapi.parts import (
    ID,
    IDEMPOTENCY_KEY,
    IF_NONE_MATCH,
    TASK_ID,
    TRACEPARENT,
    WHOLE,
    Operation,
    Parameter,
    Reply,
)
from app.schemas.answers import UploadView
from app.schemas.submission import TaskIn
from core.domain.envelope import Envelope
from core.errors import BodyTooLarge, DatabaseUnavailable, MediaUnavailable, NotFound, ValidationFailed

PICTURES = (
    Operation(
        method="post",
        path="/v1/uploads",
        tag="Pictures",
        name="uploadPicture",
        summary="Keep a picture for a day, to be recognised",
        body="picture",
        replies={201: Reply(description="Kept; `url` is good as `image_url`", model=UploadView)},
        errors=(BodyTooLarge, ValidationFailed, MediaUnavailable, DatabaseUnavailable),
    ),
    Operation(
        method="get",
        path="/v1/tasks/{task_id}/recognitions/{recognition_id}/image",
        tag="Pictures",
        name="getAnnotatedPicture",
        summary="The annotated picture, by API key or by a signed link from a callback",
        parameters=(
            TASK_ID,
            Parameter(name="recognition_id", place="path", schema=ID, description="The recognition's id"),
            Parameter(
                name="expires",
                place="query",
                schema=WHOLE,
                description="Of a signed link: good until, in Unix seconds",
            ),
            Parameter(
                name="signature", place="query", schema={"type": "string"}, description="Of a signed link"
            ),
            IF_NONE_MATCH,
        ),
        replies={
            200: Reply(
                description="The picture",
                media_type="image/jpeg",
                headers={"ETag": "For If-None-Match", "Cache-Control": "How long it may be kept"},
            ),
            304: Reply(description="As you know it", media_type=None, headers={"ETag": "The same"}),
        },
        errors=(NotFound, DatabaseUnavailable, MediaUnavailable),
    ),
)

_WRAPPED = "Every answer has HTTP status 200; the body's `code` is the status that /v1 would give."
ENVELOPE = (
    Operation(
        method="post",
        path="/recognition",
        tag="Envelope profile",
        name="submitEnvelope",
        summary="Submit a task and be called back in envelopes",
        description=f"{_WRAPPED} `business_id`, `system_code`, `callback_url`, `prompt` and all fields of "
        "every camera are required here.",
        parameters=(IDEMPOTENCY_KEY, TRACEPARENT),
        body=TaskIn,
        replies={200: Reply(description="Accepted or refused", model=Envelope)},
        errors=(),
    ),
    Operation(
        method="get",
        path="/recognition/{some_id}",
        tag="Envelope profile",
        name="getEnvelope",
        summary="Read a task by its id or by the id of one of its pictures",
        description=_WRAPPED,
        parameters=(
            Parameter(name="some_id", place="path", schema=ID, description="A task's or recognition's id"),
        ),
        replies={200: Reply(description="The task, or why there is none", model=Envelope)},
        errors=(),
    ),
)
