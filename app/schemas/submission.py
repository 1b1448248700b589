"""What comes in: a task as its caller writes it."""

from __future__ import annotations

import json
import re
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    WithJsonSchema,
    field_validator,
)

from app.schemas.json import read_json
from core.domain.delivery import DEFAULT_EVENTS, EventType
from core.errors import MalformedJson

SystemCode = Annotated[str, Field(min_length=1, max_length=20, pattern=r"^[A-Za-z0-9_-]+$")]
Url = Annotated[str, Field(min_length=1, max_length=2048, examples=["https://cams.example/gate-3.jpg"])]
Name = Annotated[str, Field(min_length=1, max_length=64)]
MAX_METADATA_BYTES = 8192
MAX_AREAS, MAX_POINTS, MAX_SIDE = 100, 1000, 100_000

_LOCAL_TIME = re.compile(r"\d{4}-\d{2}-\d{2} \d{2}:\d{2}:\d{2}", re.ASCII)
_RFC3339 = re.compile(r"\d{4}-\d{2}-\d{2}[Tt]\d{2}:\d{2}:\d{2}(\.\d{1,9})?([Zz]|[+-]\d{2}:\d{2})", re.ASCII)


def read_areas(value: Any) -> Any:
    """Polygons that may come as JSON text, or null for none; raises ValueError for text that is not JSON."""
    if value is None:
        return []
    if not isinstance(value, str):
        return value
    if not value.strip():
        return []
    try:
        return read_json(value.encode())
    except MalformedJson:
        raise ValueError("is not JSON; give polygons as [[[x, y], [x, y], [x, y]], ...]") from None


def _no_space_around(key: str) -> str:
    # Some databases take "k" and "k " for the same key.
    if key != key.strip():
        raise ValueError("must not begin or end with a space")
    return key


Coordinate = Annotated[float, Field(allow_inf_nan=False)]
PointIn = Annotated[list[Coordinate], Field(min_length=2, max_length=2)]
# Lists, not tuples: strict mode takes no list for a tuple once the values are Python's.
PolygonIn = Annotated[list[PointIn], Field(min_length=3, max_length=MAX_POINTS)]
AreasIn = Annotated[
    list[PolygonIn],
    Field(max_length=MAX_AREAS),
    BeforeValidator(read_areas, json_schema_input_type=list[PolygonIn] | str | None),
]
Side = Annotated[int, Field(ge=1, le=MAX_SIDE)]


class Incoming(BaseModel):
    """A body that is taken: strictly typed, without unknown fields."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class DedupMode(StrEnum):
    """What happens to a waiting task with the same key."""

    KEEP_FIRST = "keep_first"
    REPLACE = "replace"


class Dedup(Incoming):
    """Only one waiting task per key."""

    key: Annotated[Name, AfterValidator(_no_space_around)]
    mode: DedupMode = Field(strict=False, description="Which of them stays")


class CameraIn(Incoming):
    """One picture to look at."""

    camera_id: Name
    image_url: Url
    camera_size: Annotated[list[Side], Field(min_length=2, max_length=2)] | None = Field(
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

    @field_validator("capture_time")
    @classmethod
    def _is_time(cls, text: str | None) -> str | None:
        if text is not None:
            parse_time(text)
        return text


class TaskIn(Incoming):
    """One request for recognition."""

    business_id: Name
    system_code: SystemCode | None = Field(None, description="May be left out when the API key says it")
    prompt: Annotated[
        str,
        StringConstraints(min_length=1, max_length=40, to_upper=True, strip_whitespace=True),
        Field(description="One that the model of every camera knows, in whatever case: GET /v1/models"),
    ]
    cameras: Annotated[list[CameraIn], Field(min_length=1, max_length=100)]
    callback_url: Url | None = None
    callback_events: list[Annotated[EventType, Field(strict=False)]] = Field(
        [EventType(event) for event in DEFAULT_EVENTS], max_length=20, description="What is told"
    )
    priority: Annotated[int, Field(ge=0, le=9)] = 5
    queue_ttl_seconds: Annotated[int, Field(ge=1, le=604_800)] = 86_400
    timeout_seconds: Annotated[int, Field(ge=1, le=600)] = 60
    model: Name | None = Field(None, description="A model's name; absent = by the time of capture")
    min_score: Annotated[float, Field(ge=0.05, le=0.99)] | None = None
    dedup: Dedup | None = None
    metadata: dict[str, Any] = Field(default_factory=dict, description="Given back unchanged; at most 8 KiB")

    @field_validator("callback_events")
    @classmethod
    def _each_once(cls, events: list[EventType]) -> list[EventType]:
        return list(dict.fromkeys(events))

    @field_validator("metadata")
    @classmethod
    def _small(cls, metadata: dict[str, Any]) -> dict[str, Any]:
        if len(json.dumps(metadata, ensure_ascii=False).encode()) > MAX_METADATA_BYTES:
            raise ValueError(f"is larger than {MAX_METADATA_BYTES} bytes as JSON")
        return metadata


AnyTask = Annotated[Any, WithJsonSchema({"$ref": "#/components/schemas/TaskIn"})]
"""Each item is read by itself, so that one bad item fails alone."""


class BatchIn(Incoming):
    """Many tasks at once; one bad item never fails the others."""

    items: Annotated[list[AnyTask], Field(min_length=1, max_length=500)]


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
