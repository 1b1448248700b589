"""One picture from bytes to findings: decode, recognise, place in areas, annotate. In a child process."""

from __future__ import annotations

import time
from collections.abc import Iterable

from core.domain.areas import areas_in_picture, count
from core.domain.recognition import Findings, FoundObject
from worker.annotate import annotate
from worker.decode import Picture, decode
from worker.jobs import PictureJob, PictureOutcome
from worker.recognisers.base import Found
from worker.recognisers.registry import LoadedRecognisers

_BOX_DECIMALS = 1
_SCORE_DECIMALS = 4


def examine(job: PictureJob, recognisers: LoadedRecognisers) -> PictureOutcome:
    """Do a job; raises what decode, areas and the recogniser raise."""
    recogniser = recognisers.get(job.model.path, job.model.options)
    watch = _StopWatch()
    picture = decode(job.content, int(getattr(recogniser, "draft_side_pixels", 0)))
    areas = areas_in_picture(job.monitor_areas, job.camera_size, picture.width, picture.height)
    watch.lap("decode")
    least = job.model.default_min_score if job.min_score is None else job.min_score
    found = recogniser.recognise(picture.pixels, job.prompt, least)
    asked_label = job.prompt if job.prompt in job.model.labels else None
    tally = count(_matching(found, picture, asked_label, least), areas, asked_label)
    watch.lap("recognise")
    annotated = annotate(picture, tally.objects, areas) if job.annotate else None
    if job.annotate:
        watch.lap("annotate")
    findings = Findings(
        width=picture.width,
        height=picture.height,
        channels=picture.channels,
        objects=tally.objects,
        counts=tally.counts,
        areas=tally.areas,
        total=tally.total,
        timings_ms=watch.laps_ms,
    )
    return PictureOutcome(findings=findings, annotated=annotated)


def _matching(
    found: Iterable[Found], picture: Picture, asked_label: str | None, least: float
) -> list[FoundObject]:
    """What counts as found, best first, in pixels of the full picture.

    Boxes are rounded before anything is decided on them, so that whoever checks the areas against
    the boxes in an answer comes to the same counts.
    """
    drawn_height, drawn_width = picture.pixels.shape[:2]
    across, down = picture.width / drawn_width, picture.height / drawn_height
    objects = [
        FoundObject(
            label=one.label,
            score=round(one.score, _SCORE_DECIMALS),
            box=(
                _within(one.box[0] * across, picture.width),
                _within(one.box[1] * down, picture.height),
                _within(one.box[2] * across, picture.width),
                _within(one.box[3] * down, picture.height),
            ),
        )
        for one in found
        if one.score >= least and asked_label in (None, one.label)
    ]
    return sorted(objects, key=lambda one: (-one.score, one.label, one.box))


def _within(coordinate: float, limit: int) -> float:
    return min(max(round(coordinate, _BOX_DECIMALS), 0.0), float(limit))


class _StopWatch:
    """Milliseconds between laps."""

    def __init__(self) -> None:
        self.laps_ms: dict[str, float] = {}
        self._last = time.perf_counter()

    def lap(self, name: str) -> None:
        """Note the time since the last lap under `name`."""
        now = time.perf_counter()
        self.laps_ms[name] = round((now - self._last) * 1000, 1)
        self._last = now
