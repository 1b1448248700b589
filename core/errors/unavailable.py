"""Errors that are ours to mend; the caller tries again."""

from __future__ import annotations

from typing import ClassVar

from core.errors.base import MusterError


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


class MediaUnavailable(Unavailable):
    """Pictures cannot be stored or read right now."""

    code = "media_unavailable"


class StalePlan(Unavailable):
    """Another rebuild of the queue has begun; this one stops."""

    code = "stale_plan"
