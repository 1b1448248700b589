"""Errors that the caller can mend."""

from __future__ import annotations

from dataclasses import dataclass

from core.errors.base import MusterError


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One thing wrong with a request: where (JSON pointer), what and how to mend it."""

    pointer: str
    detail: str
    code: str = "validation_failed"


class CallerError(MusterError):
    """The request cannot be accepted."""


class MalformedJson(CallerError):
    """The body is not well-formed JSON."""

    code = "malformed_json"


class NotJson(CallerError):
    """The body must be application/json."""

    code = "not_json"


class BodyTooLarge(CallerError):
    """The body is larger than allowed."""

    code = "body_too_large"


class ValidationFailed(CallerError):
    """The request has faults; all of them are listed."""

    code = "validation_failed"

    def __init__(self, faults: list[Fault], message: str | None = None) -> None:
        super().__init__(message)
        self.faults = faults


class UnknownPrompt(ValidationFailed):
    """The model does not know this prompt."""

    code = "unknown_prompt"


class UnknownModel(ValidationFailed):
    """There is no such model here."""

    code = "unknown_model"


class ImageUrlBlocked(ValidationFailed):
    """The picture's url leads to an address that may not be fetched from."""

    code = "image_blocked_address"


class CallbackUrlBlocked(ValidationFailed):
    """The callback url leads to an address that may not be called."""

    code = "callback_blocked_address"


class InvalidUrl(CallerError):
    """This is not an url that can be fetched or called."""

    code = "validation_failed"


class IdempotencyKeyReused(ValidationFailed):
    """This Idempotency-Key was used with another body."""

    code = "idempotency_key_reused"


class ClientIdReused(CallerError):
    """A task with this client id exists and has another body."""

    code = "client_id_reused"


class Unauthenticated(CallerError):
    """A valid API key is needed."""

    code = "unauthenticated"


class Forbidden(CallerError):
    """This key may not do that."""

    code = "forbidden"


class NotFound(CallerError):
    """There is nothing here by that name."""

    code = "not_found"


class MethodNotAllowed(CallerError):
    """This address does not take that method."""

    code = "method_not_allowed"


class TaskIsFinal(CallerError):
    """The task has already ended."""

    code = "task_is_final"


class TaskNotFinal(CallerError):
    """The task has not ended yet."""

    code = "task_not_final"


class RateLimited(CallerError):
    """Too many requests."""

    code = "rate_limited"


class QueueFullForSystem(CallerError):
    """This system has as many waiting tasks as it may have."""

    code = "queue_full_for_system"
