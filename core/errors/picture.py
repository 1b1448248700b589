"""Errors of one picture; their codes are shown to the caller."""

from __future__ import annotations

from typing import ClassVar

from core.errors.base import MusterError


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
