"""How large a body may be: JSON has one limit, uploaded pictures another."""

from __future__ import annotations

from typing import Any

from quart import Request

from core.errors import BodyTooLarge
from core.settings import IntakeSettings

UPLOADS = "/v1/uploads"


def limit_of(path: str, settings: IntakeSettings) -> int:
    """The largest body at a path, in bytes."""
    return settings.max_upload_bytes if path.rstrip("/") == UPLOADS else settings.max_body_bytes


def request_class(settings: IntakeSettings) -> type[Request]:
    """Requests that know the limit of their path; the framework sets it before any handler can."""

    class LimitedRequest(Request):
        def __init__(self, method: str, scheme: str, path: str, *rest: Any, **more: Any) -> None:
            limit = limit_of(path, settings)
            super().__init__(method, scheme, path, *rest, **(more | {"max_content_length": limit}))

    return LimitedRequest


def too_large(path: str, settings: IntakeSettings) -> BodyTooLarge:
    """The error for a body above the limit of its path."""
    return BodyTooLarge(f"The body is larger than {limit_of(path, settings)} bytes.")
