"""What comes in: a task as its caller writes it."""

from __future__ import annotations

import json
import re
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, field_validator

from core.domain.delivery import DEFAULT_EVENTS, EventType

SystemCode = Annotated[str, Field(min_length=1, max_length=20, pattern=r"^[A-Za-z0-9_-]+$")]
ClientId = Annotated[
    str, Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9._-]*[A-Za-z._-][A-Za-z0-9._-]*$")
]
Url = Annotated[str, Field(min_length=1, max_length=2048, examples=["https://cams.example/gate-3.jpg"])]
Name = Annotated[str, StringConstraints(min_length=1, max_length=64)]
MAX_METADATA_BYTES = 8192
MAX_AREAS, MAX_POINTS = 100, 1000

_LOCAL_TIME = re.compile(r"\d{4}-\d{2}-\d{2} \d{2}:\d{2}:\d{2}")
_RFC3339 = re.compile(r"\d{4}-\d{2}-\d{2}[Tt]\d{2}:\d{2}:\d{2}(\.\d{1,9})?([Zz]|[+-]\d{2}:\d{2})")


def _read_areas(value: Any) -> Any:
    """Accept the polygons as a JSON text too, and null for none."""
    if value is None:
        return []
    if not isinstance(value, str):
        return value
    if not value.strip():
        return []
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        raise ValueError("is not JSON; give polygons as [[[x, y], [x, y], [x, y]], ...]") from None


Coordinate = Annotated[float, Field(allow_inf_nan=False)]
PointIn = Annotated[list[Coordinate], Field(min_length=2, max_length=2)]
# Lists, not tuples: after `_read_areas` the values are Python's, and strict mode takes no list for a tuple.
PolygonIn = Annotated[list[PointIn], Field(min_length=3, max_length=MAX_POINTS)]
AreasIn = Annotated[list[PolygonIn], Field(max_length=MAX_AREAS), BeforeValidator(_read_areas)]


class _Incoming(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class DedupMode(StrEnum):
    """What happens to a waiting task with the same key."""

    KEEP_FIRST = "keep_first"
    REPLACE = "replace"


class Dedup(_Incoming):
    """Only one waiting task per key."""

    key: Name
    mode: Annotated[DedupMode, Field(strict=False)]


class CameraIn(_Incoming):
    """One picture to look at."""

    camera_id: Name
    image_url: Url
    camera_size: tuple[int, int] | None = Field(
        None,
        description="[height, width] of the coordinate system of monitor_areas; absent = the picture's own",
    )
    monitor_areas: AreasIn = Field(
        default_factory=list,
        description="Polygons [[x, y], ...] or the same as JSON text; empty = everything",
    )
    capture_time: str | None = Field(
        None, description="RFC 3339, or YYYY-MM-DD HH:MM:SS in the site's time zone; absent = now"
    )

    @field_validator("camera_size")
    @classmethod
    def _positive(cls, size: tuple[int, int] | None) -> tuple[int, int] | None:
        if size is not None and not all(1 <= side <= 100_000 for side in size):
            raise ValueError("must be [height, width], both from 1 to 100000")
        return size

    @field_validator("capture_time")
    @classmethod
    def _is_time(cls, text: str | None) -> str | None:
        if text is not None:
            parse_time(text)
        return text


class TaskIn(_Incoming):
    """One request for recognition."""

    business_id: Name
    system_code: SystemCode | None = Field(None, description="May be left out when the API key says it")
    prompt: Annotated[
        str, StringConstraints(min_length=1, max_length=40, to_upper=True, strip_whitespace=True)
    ]
    cameras: Annotated[list[CameraIn], Field(min_length=1, max_length=100)]
    callback_url: Url | None = None
    callback_events: list[EventType] = Field(
        default_factory=lambda: [EventType(event) for event in DEFAULT_EVENTS], max_length=6, strict=False
    )
    priority: Annotated[int, Field(ge=0, le=9)] = 5
    queue_ttl_seconds: Annotated[int, Field(ge=1, le=604_800)] = 86_400
    timeout_seconds: Annotated[int, Field(ge=1, le=600)] = 60
    model: Name | None = Field(None, description="A model's name; absent = by the time of capture")
    min_score: Annotated[float, Field(ge=0.05, le=0.99, strict=False)] | None = None
    dedup: Dedup | None = None
    metadata: dict[str, Any] = Field(default_factory=dict, description="Given back unchanged; at most 8 KiB")

    @field_validator("callback_events", mode="before")
    @classmethod
    def _known_events(cls, events: Any) -> Any:
        if isinstance(events, list) and all(isinstance(event, str) for event in events):
            unknown = sorted(set(events) - {event.value for event in EventType})
            if unknown:
                known = ", ".join(EventType)
                raise ValueError(f"{', '.join(unknown)} is not known; known: {known}")
            return [EventType(event) for event in dict.fromkeys(events)]
        return events

    @field_validator("metadata")
    @classmethod
    def _small(cls, metadata: dict[str, Any]) -> dict[str, Any]:
        if len(json.dumps(metadata, ensure_ascii=False).encode()) > MAX_METADATA_BYTES:
            raise ValueError(f"is larger than {MAX_METADATA_BYTES} bytes as JSON")
        return metadata


class BatchIn(_Incoming):
    """Many tasks at once; one bad item never fails the others."""

    items: Annotated[list[Any], Field(min_length=1, max_length=500)]


def parse_time(text: str) -> datetime:
    """Read a time; naive when it has no offset (the site's zone is meant). Raises ValueError."""
    if not (_LOCAL_TIME.fullmatch(text) or _RFC3339.fullmatch(text)):
        raise ValueError("is not a time; use RFC 3339 or YYYY-MM-DD HH:MM:SS")
    try:
        moment = datetime.fromisoformat(text.upper())
    except ValueError:
        raise ValueError("is not a date and time that exists") from None
    if not 1970 <= moment.year <= 9000:
        raise ValueError("has a year outside 1970 to 9000")
    return moment
