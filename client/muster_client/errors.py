"""What can go wrong, in one small tree.

MusterClientError
    ServiceUnreachable    nobody answered, or not in time
    RequestRefused        the service answered with an error and said why
    NotInTime             the task has not ended within the time given
    SignatureInvalid      a callback is not from whom it says it is
"""

from __future__ import annotations

from collections.abc import Sequence

from muster_client.models import Fault


class MusterClientError(Exception):
    """Something went wrong between the client and Muster."""


class ServiceUnreachable(MusterClientError):
    """The service cannot be reached or does not answer in time."""


class RequestRefused(MusterClientError):
    """The service answered with an error."""

    def __init__(
        self, status: int, code: str, detail: str, faults: Sequence[Fault] = (), request_id: str | None = None
    ) -> None:
        self.status = status
        self.code = code
        self.detail = detail
        self.faults = tuple(faults)
        self.request_id = request_id
        listed = "".join(f"\n  {fault.pointer or '/'}: {fault.detail}" for fault in self.faults)
        super().__init__(f"{detail} ({code}){listed}")


class NotInTime(MusterClientError):
    """The task has not ended within the time given; it goes on."""


class SignatureInvalid(MusterClientError):
    """The callback was not signed with this secret, was changed on the way, or is too old."""
