"""One picture, from url to findings: fetch, decode and recognise, save what was drawn."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from time import perf_counter

import structlog

from core import metrics
from core.catalogue import Catalogue
from core.clock import utc_now
from core.domain.recognition import ErrorNote, Recognition, RecognitionStatus
from core.domain.task import Task
from core.errors import MediaUnavailable, MusterError, RecogniserCrashed
from core.media import Media
from worker.compute import Compute, PictureJob, PictureOutcome
from worker.fetch import PictureSource

log = structlog.get_logger()

NOT_SAVED = ErrorNote(
    code="picture_not_saved", message="What was found is recorded; the annotated picture could not be saved."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class PictureSettings:
    """Limits of the work on one picture."""

    recognise_timeout_seconds: float
    annotate: bool
    fetches_at_once: int


class PictureWork:
    """Turns open pictures into ended ones."""

    def __init__(
        self,
        source: PictureSource,
        compute: Compute,
        media: Media,
        catalogue: Catalogue,
        settings: PictureSettings,
        *,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        self._source, self._compute, self._media = source, compute, media
        self._catalogue, self._settings, self._clock = catalogue, settings, clock
        self._fetching = asyncio.Semaphore(settings.fetches_at_once)

    async def recognise(self, task: Task, picture: Recognition) -> Recognition:
        """Do one picture; raises PictureError, or MusterError of ours, when it cannot be done."""
        begun_at, begun = self._clock(), perf_counter()
        async with self._fetching:
            content = await self._source.read(picture.image_url, traceparent=task.traceparent)
        fetch_ms = round((perf_counter() - begun) * 1000, 1)
        limit_seconds = self._settings.recognise_timeout_seconds
        outcome = await self._compute.run(self._job(task, picture, content), limit_seconds)
        media_key, note = await self._save(task, picture, outcome)
        findings = replace(outcome.findings, timings_ms={"fetch": fetch_ms, **outcome.findings.timings_ms})
        for step, spent_ms in findings.timings_ms.items():
            metrics.PICTURE_SECONDS.labels(step).observe(spent_ms / 1000)
        return replace(
            picture,
            status=RecognitionStatus.COMPLETED,
            findings=findings,
            media_key=media_key,
            error=note,
            started_at=begun_at,
            completed_at=self._clock(),
        )

    def failed(self, picture: Recognition, error: MusterError) -> Recognition:
        """The picture as ended by an error."""
        return self.given_up(picture, ErrorNote(code=error.code, message=error.message))

    def given_up(self, picture: Recognition, note: ErrorNote) -> Recognition:
        """The picture as ended with its task."""
        return replace(picture, status=RecognitionStatus.FAILED, error=note, completed_at=self._clock())

    def _job(self, task: Task, picture: Recognition, content: bytes) -> PictureJob:
        model = self._catalogue.find(picture.model)
        if model is None:
            raise RecogniserCrashed(f"The model {picture.model!r} is not installed on this worker.")
        return PictureJob(
            content=content,
            model=model,
            prompt=task.prompt,
            min_score=task.min_score,
            camera_size=picture.camera_size,
            monitor_areas=picture.monitor_areas,
            annotate=self._settings.annotate,
        )

    async def _save(
        self, task: Task, picture: Recognition, outcome: PictureOutcome
    ) -> tuple[str | None, ErrorNote | None]:
        """Keep the annotated picture; the count matters more, so a full disk costs only the picture."""
        if outcome.annotated is None:
            return None, None
        try:
            return await self._media.put_annotated(task.id, picture.id, outcome.annotated), None
        except MediaUnavailable as error:
            log.warning("picture.not_saved", task_id=task.id, recognition_id=picture.id, code=error.code)
            return None, NOT_SAVED
