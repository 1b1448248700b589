"""Errors as answers: the one place where they get a status (RFC 9457)."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import BaseModel

from core import errors
from core.domain.envelope import Envelope, EnvelopeFault, EnvelopeFaults
from core.errors import Fault, MusterError, Unavailable, ValidationFailed

MEDIA_TYPE = "application/problem+json"
TYPE_PREFIX = "urn:muster:problem:"
_OURS = "Something went wrong here; the request id helps to find it."


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


KNOWN: dict[type[MusterError], tuple[int, str]] = {
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
    errors.RateLimited: (429, "Rate limited"),
    errors.QueueFullForSystem: (429, "Queue full for this system"),
    errors.IntakeFull: (503, "Intake full"),
    errors.DatabaseUnavailable: (503, "Database unavailable"),
    errors.Unavailable: (503, "Unavailable"),
}


def answer_to(kind: type[MusterError]) -> Answer:
    """The status and title of a kind of error."""
    for known in kind.__mro__:
        if known in KNOWN:
            status, title = KNOWN[known]
            return Answer(status=status, title=title)
    return Answer(status=500, title="Internal error")


def problem_of(error: MusterError, *, instance: str, request_id: str) -> Problem:
    """The problem document of an error."""
    answer = answer_to(type(error))
    is_ours = answer.status == 500
    faults = _faults(error)
    return Problem(
        type=TYPE_PREFIX + error.code,
        title=answer.title,
        status=answer.status,
        detail=_OURS if is_ours else _told(error),
        instance=instance,
        code=error.code,
        request_id=request_id,
        errors=[FaultView(pointer=fault.pointer, detail=fault.detail) for fault in faults],
    )


def headers_of(error: MusterError) -> dict[str, str]:
    """The headers that belong to an error: when to come again, how to sign in."""
    if isinstance(error, Unavailable):
        return {"Retry-After": str(error.retry_after_seconds)}
    if isinstance(error, errors.Unauthenticated):
        return {"WWW-Authenticate": "Bearer"}
    return {}


def envelope_of(error: MusterError) -> Envelope:
    """The same error in the envelope profile, whose HTTP status is always 200."""
    answer = answer_to(type(error))
    shown = tuple(EnvelopeFault(pointer=fault.pointer, detail=fault.detail) for fault in _faults(error))
    return Envelope(
        code=answer.status,
        message=_OURS if answer.status == 500 else _told(error),
        data=EnvelopeFaults(errors=shown) if shown else None,
        success=False,
    )


def _faults(error: MusterError) -> list[Fault]:
    return error.faults if isinstance(error, ValidationFailed) else []


def _told(error: MusterError) -> str:
    """The error's faults in one sentence each, or its message."""
    return "; ".join(f"{_name(fault.pointer)}{fault.detail}" for fault in _faults(error)) or error.message


def _name(pointer: str) -> str:
    """A pointer as a name in front of a sentence; empty for the whole body."""
    return f"{pointer.strip('/').replace('/', '.')}: " if pointer else ""
