"""Writing answers: JSON, and bodies that a caller may have already."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from pydantic import BaseModel
from quart import Response, request

JSON = "application/json"


def json_response(view: BaseModel, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """A view as an answer."""
    return Response(
        view.model_dump_json(by_alias=True), status, headers=dict(headers or {}), content_type=JSON
    )


def tagged_response(content: bytes, content_type: str, headers: Mapping[str, str]) -> Response:
    """A body under an ETag; 304 without it when the caller has it already."""
    etag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
    tagged = {**headers, "ETag": etag}
    if _has(etag):
        return Response(status=304, headers=tagged)
    return Response(content, 200, headers=tagged, content_type=content_type)


def _has(etag: str) -> bool:
    held = (part.strip().removeprefix("W/") for part in request.headers.get("If-None-Match", "").split(","))
    return any(tag in (etag, "*") for tag in held)
