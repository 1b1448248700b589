"""Errors of one POST of a callback; their codes stand in the delivery's attempts."""

from __future__ import annotations

from core.errors.base import MusterError


class DeliveryError(MusterError):
    """The callback could not be delivered."""


class DeliveryTimeout(DeliveryError):
    """The receiver did not answer in time."""

    code = "callback_timeout"
    retryable = True


class DeliveryFailed(DeliveryError):
    """The connection to the receiver failed."""

    code = "callback_failed"
    retryable = True


class DeliveryBlocked(DeliveryError):
    """The callback url leads to an address that may not be called."""

    code = "callback_blocked_address"
