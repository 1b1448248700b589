"""Errors as answers: the one place where they get a status (RFC 9457)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from core import errors
from core.errors import MusterError, Unavailable, ValidationFailed

MEDIA_TYPE = "application/problem+json"
TYPE_PREFIX = "urn:muster:problem:"


class FaultView(BaseModel):
    """One thing that is wrong with a request."""

    pointer: str
    detail: str


class Problem(BaseModel):
    """A refused or failed request (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str
    instance: str
    code: str
    request_id: str
    errors: list[FaultView] = []


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What an error is answered with."""

    status: int
    title: str


_STATUSES: dict[type[MusterError], tuple[int, str]] = {
    errors.MalformedJson: (400, "Malformed JSON"),
    errors.Unauthenticated: (401, "Unauthenticated"),
    errors.Forbidden: (403, "Forbidden"),
    errors.NotFound: (404, "Not found"),
    errors.MethodNotAllowed: (405, "Method not allowed"),
    errors.TaskIsFinal: (409, "Task is final"),
    errors.TaskNotFinal: (409, "Task is not final"),
    errors.ClientIdReused: (409, "Client id reused"),
    errors.BodyTooLarge: (413, "Body too large"),
    errors.NotJson: (415, "Not JSON"),
    errors.UnknownPrompt: (422, "Unknown prompt"),
    errors.UnknownModel: (422, "Unknown model"),
    errors.ImageUrlBlocked: (422, "Picture url blocked"),
    errors.CallbackUrlBlocked: (422, "Callback url blocked"),
    errors.IdempotencyKeyReused: (422, "Idempotency key reused"),
    errors.ValidationFailed: (422, "Validation failed"),
    errors.NotAnImage: (422, "Not an image"),
    errors.RateLimited: (429, "Rate limited"),
    errors.QueueFullForSystem: (429, "Queue full for this system"),
    errors.IntakeFull: (503, "Intake full"),
    errors.DatabaseUnavailable: (503, "Database unavailable"),
    errors.Unavailable: (503, "Unavailable"),
}


def answer_of(error: MusterError) -> Answer:
    """The status and title of an error."""
    for kind in type(error).__mro__:
        if kind in _STATUSES:
            status, title = _STATUSES[kind]
            return Answer(status=status, title=title)
    return Answer(status=500, title="Internal error")


def codes_by_status() -> dict[int, list[str]]:
    """The codes of every status, for the documentation."""
    found: dict[int, list[str]] = {}
    for kind, (status, _) in _STATUSES.items():
        found.setdefault(status, []).append(kind.code)
    return found


def problem_of(error: MusterError, *, instance: str, request_id: str) -> Problem:
    """The problem document of an error."""
    answer = answer_of(error)
    is_ours = answer.status == 500
    faults = error.faults if isinstance(error, ValidationFailed) else []
    return Problem(
        type=TYPE_PREFIX + error.code,
        title=answer.title,
        status=answer.status,
        detail="Something went wrong here; the request id helps to find it." if is_ours else error.message,
        instance=instance,
        code=error.code,
        request_id=request_id,
        errors=[FaultView(pointer=fault.pointer, detail=fault.detail) for fault in faults],
    )


def retry_after(error: MusterError) -> dict[str, str]:
    """The header that says when to come again."""
    if isinstance(error, Unavailable):
        return {"Retry-After": str(error.retry_after_seconds)}
    return {}


def envelope_of(error: MusterError) -> dict[str, Any]:
    """The same error in the envelope profile, whose HTTP status is always 200."""
    answer = answer_of(error)
    faults = error.faults if isinstance(error, ValidationFailed) else []
    told = "; ".join(f"{fault.pointer.strip('/').replace('/', '.')}: {fault.detail}" for fault in faults)
    shown = [{"pointer": fault.pointer, "detail": fault.detail} for fault in faults]
    message = told or ("Something went wrong here." if answer.status == 500 else error.message)
    data = {"errors": shown} if shown else None
    return {"code": answer.status, "message": message, "data": data, "success": False}
