"""What is sent and what comes back. Unknown fields of newer services are kept out of the way."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

FINAL_STATUSES = frozenset({"completed", "failed", "cancelled", "expired"})

Area = list[tuple[float, float]]
"""A polygon as [x, y] points in the coordinates of `camera_size`."""


class _Sent(BaseModel):
    model_config = ConfigDict(extra="forbid")


class _Received(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class NewCamera(_Sent):
    """One picture to look at."""

    camera_id: str
    image_url: str
    camera_size: tuple[int, int] | None = Field(None, description="[height, width] of the areas' coordinates")
    monitor_areas: list[Area] = []
    capture_time: str | None = Field(
        None, description="RFC 3339, or YYYY-MM-DD HH:MM:SS in the site's time zone"
    )


class Dedup(_Sent):
    """What to do when a task with the same key is still waiting."""

    key: str
    mode: Literal["keep_first", "replace"] = "keep_first"


class NewTask(_Sent):
    """A task to submit; what is left out gets the service's default."""

    business_id: str
    prompt: str
    cameras: list[NewCamera]
    system_code: str | None = None
    callback_url: str | None = None
    callback_events: list[str] | None = None
    priority: int | None = None
    queue_ttl_seconds: int | None = None
    timeout_seconds: int | None = None
    model: str | None = None
    min_score: float | None = None
    dedup: Dedup | None = None
    metadata: dict[str, Any] | None = None


class ErrorNote(_Received):
    """Why something failed: a stable code and a sentence."""

    code: str
    message: str = ""


class Fault(_Received):
    """One thing wrong with a request: where (JSON pointer) and what."""

    pointer: str = ""
    detail: str = ""


class Images(_Received):
    """How many pictures have ended."""

    total: int
    completed: int = 0
    failed: int = 0

    @property
    def ended(self) -> int:
        """Pictures that are done, whichever way."""
        return self.completed + self.failed


class ImageSize(_Received):
    """The picture as it was looked at, upright."""

    width: int
    height: int
    channels: int = 3


class AreaCount(_Received):
    """What stands in one monitor area."""

    index: int
    counts: dict[str, int]


class FoundObject(_Received):
    """One object; `box` is [x1, y1, x2, y2] in pixels."""

    label: str
    score: float
    box: tuple[float, float, float, float]
    areas: list[int] = []


class Recognition(_Received):
    """One picture of a task and what was found in it."""

    id: str
    camera_id: str
    status: str
    model: str | None = None
    image: ImageSize | None = None
    counts: dict[str, int] | None = None
    areas: list[AreaCount] = []
    total: int | None = None
    objects: list[FoundObject] = []
    recognition_url: str | None = None
    timings_ms: dict[str, float] | None = None
    error: ErrorNote | None = None


class QueuePlace(_Received):
    """Where a waiting task stands; 1 is served next."""

    position: int | None = None
    ahead: int | None = None
    eta_seconds: float | None = None
    limited_by: str | None = None


class Task(_Received):
    """One request for recognition."""

    id: str
    status: str
    business_id: str
    system_code: str
    prompt: str
    priority: int = 5
    attempt: int = 0
    created_at: datetime | None = None
    started_at: datetime | None = None
    completed_at: datetime | None = None
    next_attempt_at: datetime | None = None
    error: ErrorNote | None = None
    metadata: dict[str, Any] = {}
    queue: QueuePlace | None = None
    images: Images
    task_num: int = 0
    recognitions: list[Recognition] = []

    @property
    def is_final(self) -> bool:
        """Whether it has ended, whichever way."""
        return self.status in FINAL_STATUSES


class TaskPage(_Received):
    """Some tasks, newest first, and how to get the next ones."""

    items: list[Task]
    next_page_token: str | None = None


class BulkResult(_Received):
    """What came of a change to many tasks."""

    dry_run: bool
    matched: int
    changed: int
    has_more: bool = False


class Upload(_Received):
    """A picture that the service keeps for a while; `url` is good as `image_url`."""

    url: str
    expires_at: datetime | None = None


class Model(_Received):
    """A recogniser and what it can be asked for."""

    name: str
    prompts: list[str]
    labels: list[str] = []
    default_for: list[str] = []


class WorkerState(_Received):
    """A worker that lives."""

    id: str
    host: str
    pid: int
    version: str = ""
    models: list[str] = []
    slots: int = 0
    tasks: int = 0
    last_seen_at: datetime | None = None
