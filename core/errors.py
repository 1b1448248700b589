"""Every error of ours, in one tree; `app/problems.py` alone gives them a status.

    MusterError
    ├── SettingsError            a setting is wrong; said at start-up
    ├── CallerError              the caller can mend it
    │   ├── MalformedJson, NotJson, BodyTooLarge
    │   ├── ValidationFailed     carries every fault at once
    │   │   └── UnknownPrompt, UnknownModel, ImageUrlBlocked, CallbackUrlBlocked
    │   ├── IdempotencyKeyReused, ClientIdReused
    │   ├── Unauthenticated, Forbidden, NotFound
    │   ├── TaskIsFinal, TaskNotFinal
    │   └── RateLimited, QueueFullForSystem
    ├── Unavailable              ours to mend; the caller tries again
    │   └── IntakeFull, DatabaseUnavailable, QueueUnavailable, StalePlan
    ├── PictureError             one picture failed; its code is shown to the caller
    │   ├── FetchError
    │   │   └── FetchTimeout, FetchFailed, FetchStatus, BlockedAddress, PictureTooLarge
    │   ├── DecodeError
    │   │   └── TooManyPixels, NotAnImage, DecodeFailed, AreaOutsidePicture
    │   └── RecogniserError
    │       └── RecogniserTimeout, RecogniserCrashed
    ├── CacheMiss                a cache key that is not there
    └── LeaseLost                the row is not this worker's any more

The class docstring is the default message. Messages shown to callers name no address, no
secret and no url query.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar


class MusterError(Exception):
    """Something went wrong."""

    code: ClassVar[str] = "internal_error"
    retryable: ClassVar[bool] = False

    def __init__(self, message: str | None = None) -> None:
        self.message = message or (type(self).__doc__ or "").strip().splitlines()[0]
        super().__init__(self.message)


class SettingsError(MusterError):
    """A setting is wrong."""

    code = "settings_invalid"


# ---- the caller can mend it


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


# ---- ours to mend


class Unavailable(MusterError):
    """The service cannot do this right now; try again."""

    retryable = True
    retry_after_seconds: ClassVar[int] = 2


class IntakeFull(Unavailable):
    """More requests are waiting to be stored than can be held."""

    code = "intake_full"


class DatabaseUnavailable(Unavailable):
    """The database cannot be reached."""

    code = "database_unavailable"


class QueueUnavailable(Unavailable):
    """Redis cannot be reached."""

    code = "queue_unavailable"


class StalePlan(Unavailable):
    """Another rebuild of the queue has begun; this one stops."""

    code = "stale_plan"


# ---- one picture failed


class PictureError(MusterError):
    """The picture could not be recognised."""


class FetchError(PictureError):
    """The picture could not be fetched."""


class FetchTimeout(FetchError):
    """The picture did not arrive in time."""

    code = "image_fetch_timeout"
    retryable = True


class FetchFailed(FetchError):
    """The connection to the picture's server failed."""

    code = "image_fetch_failed"
    retryable = True


class FetchStatus(FetchError):
    """The picture's server answered with an error status."""

    code = "image_http_status"
    RETRYABLE_STATUSES: ClassVar[frozenset[int]] = frozenset({408, 425, 429})

    def __init__(self, status: int, retry_after_seconds: float | None = None) -> None:
        super().__init__(f"The picture's server answered with status {status}.")
        self.status = status
        self.retry_after_seconds = retry_after_seconds

    @property
    def is_transient(self) -> bool:
        """Whether the same request may succeed later (408, 425, 429, 5xx)."""
        return self.status in self.RETRYABLE_STATUSES or 500 <= self.status <= 599


class BlockedAddress(FetchError):
    """The url leads to an address that may not be fetched from."""

    code = "image_blocked_address"


class PictureTooLarge(FetchError):
    """The picture has more bytes than allowed."""

    code = "image_too_large"


class DecodeError(PictureError):
    """The picture could not be decoded."""


class TooManyPixels(DecodeError):
    """The picture has more pixels than allowed."""

    code = "image_too_many_pixels"


class NotAnImage(DecodeError):
    """This is not a JPEG, PNG, WebP, GIF, BMP or TIFF picture."""

    code = "image_not_an_image"


class DecodeFailed(DecodeError):
    """The picture is damaged or cut off."""

    code = "image_decode_failed"


class AreaOutsidePicture(DecodeError):
    """A monitor area has a point outside the picture."""

    code = "area_outside_picture"


class RecogniserError(PictureError):
    """The recogniser failed."""


class RecogniserTimeout(RecogniserError):
    """The recogniser did not finish in time and was stopped."""

    code = "recogniser_timeout"
    retryable = True


class RecogniserCrashed(RecogniserError):
    """The recogniser's process died."""

    code = "recogniser_crashed"
    retryable = True


class CacheMiss(MusterError):
    """The cache does not hold this key."""

    code = "cache_miss"


class LeaseLost(MusterError):
    """The task is no longer this worker's."""

    code = "lease_lost"
