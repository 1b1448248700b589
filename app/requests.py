"""Reading a request: its principal, its body, its headers and query; writing JSON."""

from __future__ import annotations

import re
from collections.abc import Collection
from datetime import UTC
from typing import Any, TypeVar

from quart import request

from app.auth import Principal
from app.context import context
from app.responses import JSON
from app.schemas.json import read_json
from app.schemas.reading import Asked
from app.schemas.submission import parse_time
from core.domain.delivery import DeliveryStatus
from core.domain.task import TaskStatus
from core.errors import Fault, NotFound, NotJson, ValidationFailed
from core.store.delivery_log import DeliveryFilter
from core.store.tasks import TaskFilter

Status = TypeVar("Status", TaskStatus, DeliveryStatus)

TASK_FILTERS = frozenset(
    {"status", "business_id", "camera_id", "prompt", "client_id", "created_after", "created_before"}
)
DELIVERY_FILTERS = frozenset({"status", "task_id", "host", "created_after", "created_before"})
PAGING = frozenset({"page_size", "page_token"})
MAX_PAGE_SIZE, PAGE_SIZE = 500, 50
_KEY = re.compile(r"[\x21-\x7e]{1,128}")
_TRACEPARENT = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")
_WAIT = re.compile(r"(?:^|[,;\s])wait=(\d{1,18})(?:$|[,;\s])")
_MAX_ID = 2**63 - 2
"""One below the largest that a database can hold, so that the next one can be asked for too."""
_TOKEN = re.compile(r"p[0-9a-z]{1,13}")
MAX_FILTER_CHARS = 64


async def principal() -> Principal:
    """Who asks; raises Unauthenticated."""
    return await context().doorkeeper.admit(request.headers.get("Authorization"))


async def json_body() -> Any:
    """The parsed body; raises NotJson, MalformedJson, BodyTooLarge."""
    kind = (request.headers.get("Content-Type") or "").partition(";")[0].strip().lower()
    if kind != JSON and not kind.endswith("+json"):
        raise NotJson("Send the body as Content-Type: application/json.")
    return read_json(await raw_body())


async def raw_body() -> bytes:
    """The bytes of the body; raises what the framework raises when they are too many."""
    body = await request.get_data(cache=False, as_text=False)
    return body if isinstance(body, bytes) else body.encode()


def asked(client_id: str | None = None) -> Asked:
    """What a submission brings in its headers; raises ValidationFailed."""
    key = request.headers.get("Idempotency-Key")
    if key is not None and not _KEY.fullmatch(key):
        detail = "Idempotency-Key must be 1 to 128 visible ASCII characters"
        raise ValidationFailed([Fault(pointer="", detail=detail)])
    trace = request.headers.get("traceparent", "")
    traceparent = trace if _TRACEPARENT.fullmatch(trace) else None
    return Asked(idempotency_key=key, client_id=client_id, traceparent=traceparent)


def preferred_wait() -> int | None:
    """The seconds of `Prefer: wait=N`."""
    found = _WAIT.search(request.headers.get("Prefer", ""))
    return None if found is None else int(found.group(1))


def identifier(text: str) -> int:
    """An id in a path; what cannot be one is not found."""
    if not (text.isascii() and text.isdigit()) or len(text) > 19 or int(text) > _MAX_ID:
        raise NotFound
    return int(text)


def number(name: str, default: int, *, least: int, most: int) -> int:
    """A whole number of the query; raises ValidationFailed."""
    text = request.args.get(name)
    if text is None:
        return default
    if not (text.isascii() and text.isdigit() and len(text) <= 9 and least <= int(text) <= most):
        raise _wrong(name, f"must be a whole number from {least} to {most}")
    return int(text)


def page_token() -> int | None:
    """Where the page before ended; raises ValidationFailed."""
    text = request.args.get("page_token")
    if text is None:
        return None
    last_id = int(text[1:], 36) if _TOKEN.fullmatch(text) else _MAX_ID + 1
    if last_id > _MAX_ID:
        raise _wrong("page_token", "is not one that was given; start again without it")
    return last_id


def next_page_token(last_id: int) -> str:
    """The token of the page after `last_id`; opaque to callers."""
    digits = ""
    while last_id:
        last_id, digit = divmod(last_id, 36)
        digits = "0123456789abcdefghijklmnopqrstuvwxyz"[digit] + digits
    return f"p{digits or '0'}"


def text_filter(name: str) -> str | None:
    """A text of the query; raises ValidationFailed."""
    text = request.args.get(name)
    if text is not None and ("\0" in text or not 1 <= len(text) <= MAX_FILTER_CHARS):
        raise _wrong(name, f"must have 1 to {MAX_FILTER_CHARS} characters, no NUL")
    return text


def refuse_unknown(known: Collection[str]) -> None:
    """Raise ValidationFailed for every part of the query that is not known."""
    faults = [
        Fault(pointer=f"/{name}", detail=f"is not known here; known: {', '.join(sorted(known))}")
        for name in sorted(set(request.args) - set(known))
    ]
    if faults:
        raise ValidationFailed(faults)


def task_filter() -> TaskFilter:
    """The filters of a list; raises ValidationFailed."""
    refuse_unknown(TASK_FILTERS | PAGING)
    prompt = text_filter("prompt")
    return TaskFilter(
        statuses=_statuses(TaskStatus),
        business_id=text_filter("business_id"),
        camera_id=text_filter("camera_id"),
        client_id=text_filter("client_id"),
        prompt=prompt.upper() if prompt else None,
        created_after=_moment("created_after"),
        created_before=_moment("created_before"),
    )


def delivery_filter() -> DeliveryFilter:
    """The filters of a list of deliveries; raises ValidationFailed."""
    refuse_unknown(DELIVERY_FILTERS | PAGING)
    task_id = request.args.get("task_id")
    try:
        wanted_id = None if task_id is None else identifier(task_id)
    except NotFound:
        raise _wrong("task_id", "must be a task's id") from None
    host = text_filter("host")
    return DeliveryFilter(
        statuses=_statuses(DeliveryStatus),
        task_id=wanted_id,
        host=host.lower() if host else None,
        created_after=_moment("created_after"),
        created_before=_moment("created_before"),
    )


def _statuses(kind: type[Status]) -> tuple[Status, ...]:
    statuses = [part for text in request.args.getlist("status") for part in text.split(",")]
    try:
        return tuple(kind(status) for status in statuses)
    except ValueError:
        raise _wrong("status", f"must be of {', '.join(kind)}") from None


def _moment(name: str) -> Any:
    text = request.args.get(name)
    if text is None:
        return None
    try:
        # A plus sign that was not escaped in the query arrives as a space.
        moment = parse_time(re.sub(r" (\d{2}:\d{2})$", r"+\1", text) if "T" in text.upper() else text)
    except ValueError as error:
        raise _wrong(name, str(error)) from None
    aware = moment if moment.tzinfo else moment.replace(tzinfo=context().settings.zone)
    return aware.astimezone(UTC)


def _wrong(name: str, detail: str) -> ValidationFailed:
    return ValidationFailed([Fault(pointer=f"/{name}", detail=detail)])
