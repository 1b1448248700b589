"""What one picture of a task is and what was found in it."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

Point = tuple[float, float]
Polygon = tuple[Point, ...]


class RecognitionStatus(StrEnum):
    """The states of one picture."""

    PENDING = "pending"
    COMPLETED = "completed"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorNote:
    """Why something failed: a stable code and a sentence for people."""

    code: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundObject:
    """One object: label, score 0..1, box `(x1, y1, x2, y2)` in upright pixels, areas it stands in."""

    label: str
    score: float
    box: tuple[float, float, float, float]
    areas: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class AreaCount:
    """What was counted in one monitor area, by its index in the request."""

    index: int
    counts: dict[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """All that recognition of one picture yields; small enough to travel between processes."""

    width: int
    height: int
    channels: int
    objects: tuple[FoundObject, ...]
    counts: dict[str, int]
    areas: tuple[AreaCount, ...]
    total: int
    timings_ms: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Recognition:
    """One picture of a task: what was asked, and, once ended, what was found or why not."""

    id: int
    task_id: int
    position: int
    camera_id: str
    image_url: str
    model: str
    capture_time: datetime
    camera_size: tuple[int, int] | None = None
    """`(height, width)` of the coordinate system of `monitor_areas`; None = the picture's own size."""
    monitor_areas: tuple[Polygon, ...] = ()
    status: RecognitionStatus = RecognitionStatus.PENDING
    findings: Findings | None = None
    media_key: str | None = None
    error: ErrorNote | None = None
    """Why it failed; of a completed one: what is missing although it was recognised."""
    started_at: datetime | None = None
    completed_at: datetime | None = None

    @property
    def is_final(self) -> bool:
        """Whether this picture has ended."""
        return self.status is not RecognitionStatus.PENDING

    def __repr__(self) -> str:
        return f"<Recognition {self.id} {self.status} camera={self.camera_id}>"
