"""The root of the tree and the errors that are nobody's in particular."""

from __future__ import annotations

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


class CacheMiss(MusterError):
    """The cache does not hold this key."""

    code = "cache_miss"


class LeaseLost(MusterError):
    """The task is no longer this worker's."""

    code = "lease_lost"
