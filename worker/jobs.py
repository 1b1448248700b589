"""What travels between the worker and its child processes: a job one way, findings the other.

A frame is a JSON header and a run of raw bytes. Nothing is unpickled, so a child that a hostile
picture has taken over can send wrong findings but cannot run code in the worker.
"""

from __future__ import annotations

import json
import math
import struct
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol

from core.catalogue import ModelSpec
from core.domain.recognition import AreaCount, Findings, FoundObject, Polygon
from core.errors import (
    AreaOutsidePicture,
    DecodeFailed,
    NotAnImage,
    PictureError,
    RecogniserCrashed,
    TooManyPixels,
)

Header = dict[str, Any]

PREFIX = struct.Struct("!II")
"""Lengths of the header and of the bytes that follow it."""
MAX_HEADER_BYTES = 16_000_000
MAX_BLOB_BYTES = 256_000_000

_ERRORS: dict[str, type[PictureError]] = {
    error.code: error
    for error in (AreaOutsidePicture, DecodeFailed, NotAnImage, TooManyPixels, RecogniserCrashed)
}


@dataclass(frozen=True, slots=True, kw_only=True)
class PictureJob:
    """One picture to decode, recognise and, if asked, annotate."""

    content: bytes
    model: ModelSpec
    prompt: str
    min_score: float | None = None
    """None = the model's default."""
    camera_size: tuple[int, int] | None = None
    """`(height, width)` of the coordinate system of `monitor_areas`; None = the picture's own."""
    monitor_areas: tuple[Polygon, ...] = ()
    annotate: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class PictureOutcome:
    """What was found, and the annotated picture as JPEG when one was asked for."""

    findings: Findings
    annotated: bytes | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ChildSetup:
    """What a child is told first: its limits and the models to load before it is ready."""

    parent_pid: int
    memory_bytes: int
    open_files: int
    threads: int
    models: tuple[ModelSpec, ...] = field(default_factory=tuple)


class Readable(Protocol):
    """A blocking byte stream."""

    def read(self, count: int, /) -> bytes:
        """At most `count` bytes, fewer at the end."""


def pack(header: Header, blob: bytes = b"") -> bytes:
    """One frame, without its blob when that is large enough to be worth writing by itself."""
    text = json.dumps(header, separators=(",", ":")).encode()
    return PREFIX.pack(len(text), len(blob)) + text


def lengths(prefix: bytes) -> tuple[int, int]:
    """The two lengths in a frame's prefix; raises ValueError when they cannot be meant."""
    header_bytes, blob_bytes = PREFIX.unpack(prefix)
    if header_bytes > MAX_HEADER_BYTES or blob_bytes > MAX_BLOB_BYTES:
        raise ValueError("the frame is larger than any that is sent")
    return header_bytes, blob_bytes


def read_frame(stream: Readable) -> tuple[Header, bytes] | None:
    """Read one frame from a blocking stream; None at its end."""
    prefix = stream.read(PREFIX.size)
    if len(prefix) < PREFIX.size:
        return None
    header_bytes, blob_bytes = lengths(prefix)
    text, blob = stream.read(header_bytes), stream.read(blob_bytes)
    if len(text) < header_bytes or len(blob) < blob_bytes:
        return None
    return json.loads(text), blob


def job_header(job: PictureJob, cpu_seconds: float) -> Header:
    """A job as the header of a frame whose blob is the picture; `cpu_seconds` is what it may burn."""
    return {
        "model": asdict(job.model),
        "prompt": job.prompt,
        "min_score": job.model.default_min_score if job.min_score is None else job.min_score,
        "camera_size": job.camera_size,
        "monitor_areas": job.monitor_areas,
        "annotate": job.annotate,
        "cpu_seconds": cpu_seconds,
    }


def job_from(header: Header, content: bytes) -> PictureJob:
    """The job in a frame."""
    size = header["camera_size"]
    return PictureJob(
        content=content,
        model=spec_from(header["model"]),
        prompt=header["prompt"],
        min_score=header["min_score"],
        camera_size=(size[0], size[1]) if size else None,
        monitor_areas=tuple(tuple((x, y) for x, y in polygon) for polygon in header["monitor_areas"]),
        annotate=header["annotate"],
    )


def spec_from(raw: Header) -> ModelSpec:
    """A model's description from JSON."""
    return ModelSpec(**{**raw, "prompts": tuple(raw["prompts"]), "labels": tuple(raw["labels"])})


def setup_from(raw: Header) -> ChildSetup:
    """A child's setup from JSON."""
    return ChildSetup(**{**raw, "models": tuple(spec_from(model) for model in raw["models"])})


def outcome_from(header: Header, blob: bytes) -> PictureOutcome:
    """The outcome in a child's answer.

    Raises:
        PictureError: The one the child names.
        KeyError, TypeError, ValueError: The answer makes no sense.
    """
    if "error" in header:
        raise _ERRORS.get(header["error"], RecogniserCrashed)(str(header["message"]))
    raw = header["findings"]
    objects = tuple(
        FoundObject(
            label=str(found["label"]),
            score=_finite(found["score"]),
            box=_box(found["box"]),
            areas=tuple(int(index) for index in found["areas"]),
        )
        for found in raw["objects"]
    )
    findings = Findings(
        width=int(raw["width"]),
        height=int(raw["height"]),
        channels=int(raw["channels"]),
        objects=objects,
        counts=_counts(raw["counts"]),
        areas=tuple(AreaCount(index=int(a["index"]), counts=_counts(a["counts"])) for a in raw["areas"]),
        total=int(raw["total"]),
        timings_ms={str(stage): float(spent) for stage, spent in raw["timings_ms"].items()},
    )
    return PictureOutcome(findings=findings, annotated=blob or None)


def _box(raw: list[float]) -> tuple[float, float, float, float]:
    x1, y1, x2, y2 = (_finite(side) for side in raw)
    return (x1, y1, x2, y2)


def _finite(raw: float) -> float:
    """A number that JSON and every database can hold; raises ValueError for NaN and infinity."""
    if not math.isfinite(number := float(raw)):
        raise ValueError("a score or a box is not a finite number")
    return number


def _counts(raw: dict[str, int]) -> dict[str, int]:
    return {str(label): int(number) for label, number in raw.items()}
