"""Every error of ours, in one tree; `app/problems.py` alone gives them a status.

    MusterError
    ├── SettingsError            a setting is wrong; said at start-up
    ├── CallerError              the caller can mend it
    │   ├── MalformedJson, NotJson, BodyTooLarge
    │   ├── ValidationFailed     carries every fault at once
    │   │   └── UnknownPrompt, UnknownModel, ImageUrlBlocked, CallbackUrlBlocked
    │   ├── IdempotencyKeyReused, ClientIdReused
    │   ├── InvalidUrl
    │   ├── Unauthenticated, Forbidden, NotFound, MethodNotAllowed
    │   ├── TaskIsFinal, TaskNotFinal
    │   └── RateLimited, QueueFullForSystem
    ├── Unavailable              ours to mend; the caller tries again
    │   └── IntakeFull, DatabaseUnavailable, QueueUnavailable, MediaUnavailable, StalePlan
    ├── PictureError             one picture failed; its code is shown to the caller
    │   ├── FetchError
    │   │   └── FetchTimeout, FetchFailed, FetchStatus, BlockedAddress, PictureTooLarge
    │   ├── DecodeError
    │   │   └── TooManyPixels, NotAnImage, DecodeFailed, AreaOutsidePicture
    │   └── RecogniserError
    │       └── RecogniserTimeout, RecogniserCrashed
    ├── DeliveryError            one POST of a callback failed
    │   └── DeliveryTimeout, DeliveryFailed, DeliveryBlocked
    ├── CacheMiss                a cache key that is not there
    └── LeaseLost                the row is not this worker's any more

The class docstring is the default message. Messages shown to callers name no address, no
secret and no url query.
"""

from core.errors.base import (
    CacheMiss,
    LeaseLost,
    MusterError,
    SettingsError,
)
from core.errors.caller import (
    BodyTooLarge,
    CallbackUrlBlocked,
    CallerError,
    ClientIdReused,
    Fault,
    Forbidden,
    IdempotencyKeyReused,
    ImageUrlBlocked,
    InvalidUrl,
    MalformedJson,
    MethodNotAllowed,
    NotFound,
    NotJson,
    QueueFullForSystem,
    RateLimited,
    TaskIsFinal,
    TaskNotFinal,
    Unauthenticated,
    UnknownModel,
    UnknownPrompt,
    ValidationFailed,
)
from core.errors.delivery import (
    DeliveryBlocked,
    DeliveryError,
    DeliveryFailed,
    DeliveryTimeout,
)
from core.errors.picture import (
    AreaOutsidePicture,
    BlockedAddress,
    DecodeError,
    DecodeFailed,
    FetchError,
    FetchFailed,
    FetchStatus,
    FetchTimeout,
    NotAnImage,
    PictureError,
    PictureTooLarge,
    RecogniserCrashed,
    RecogniserError,
    RecogniserTimeout,
    TooManyPixels,
)
from core.errors.unavailable import (
    DatabaseUnavailable,
    IntakeFull,
    MediaUnavailable,
    QueueUnavailable,
    StalePlan,
    Unavailable,
)

__all__ = [
    "AreaOutsidePicture",
    "BlockedAddress",
    "BodyTooLarge",
    "CacheMiss",
    "CallbackUrlBlocked",
    "CallerError",
    "ClientIdReused",
    "DatabaseUnavailable",
    "DecodeError",
    "DecodeFailed",
    "DeliveryBlocked",
    "DeliveryError",
    "DeliveryFailed",
    "DeliveryTimeout",
    "Fault",
    "FetchError",
    "FetchFailed",
    "FetchStatus",
    "FetchTimeout",
    "Forbidden",
    "IdempotencyKeyReused",
    "ImageUrlBlocked",
    "IntakeFull",
    "InvalidUrl",
    "LeaseLost",
    "MalformedJson",
    "MediaUnavailable",
    "MethodNotAllowed",
    "MusterError",
    "NotAnImage",
    "NotFound",
    "NotJson",
    "PictureError",
    "PictureTooLarge",
    "QueueFullForSystem",
    "QueueUnavailable",
    "RateLimited",
    "RecogniserCrashed",
    "RecogniserError",
    "RecogniserTimeout",
    "SettingsError",
    "StalePlan",
    "TaskIsFinal",
    "TaskNotFinal",
    "TooManyPixels",
    "Unauthenticated",
    "Unavailable",
    "UnknownModel",
    "UnknownPrompt",
    "ValidationFailed",
]
