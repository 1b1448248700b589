"""All faults of a submission at once: of its form, and of what it means."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeVar
from zoneinfo import ZoneInfo

from pydantic import BaseModel, ValidationError

from app.schemas.sentences import pointer_of, sentence
from app.schemas.submission import TaskIn, parse_time, read_areas
from core.catalogue import Catalogue
from core.domain.routing import Shift, model_at
from core.errors import (
    BlockedAddress,
    CallbackUrlBlocked,
    Fault,
    IdempotencyKeyReused,
    ImageUrlBlocked,
    InvalidUrl,
    UnknownModel,
    UnknownPrompt,
    ValidationFailed,
)
from core.net import UrlRules

Schema = TypeVar("Schema", bound=BaseModel)

_UPLOAD = "upload:"
_UPLOADED = re.compile(r"upload:[0-9a-f]{32}")
_NOT_AN_UPLOAD = (
    "is not the url of an upload: send the picture to POST /v1/uploads and use the url it answers"
)
_KINDS: dict[str, type[ValidationFailed]] = {
    kind.code: kind
    for kind in (UnknownPrompt, UnknownModel, ImageUrlBlocked, CallbackUrlBlocked, IdempotencyKeyReused)
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Meaning:
    """What a submission is held against beside its form."""

    catalogue: Catalogue
    shifts: tuple[Shift, ...]
    zone: ZoneInfo
    urls: UrlRules

    def moment(self, text: str | None, now: datetime) -> datetime:
        """A capture time as aware UTC; absent = now."""
        if text is None:
            return now
        moment = parse_time(text)
        return (moment if moment.tzinfo else moment.replace(tzinfo=self.zone)).astimezone(UTC)

    def model_of(self, asked: str | None, moment: datetime) -> str:
        """The model for a picture taken at `moment`."""
        return asked or model_at(moment.astimezone(self.zone), self.shifts, self.shifts[0].model)


def failure(faults: Sequence[Fault]) -> ValidationFailed:
    """The error for faults; its code is theirs when all are of one kind."""
    codes = {fault.code for fault in faults}
    kind = _KINDS.get(codes.pop(), ValidationFailed) if len(codes) == 1 else ValidationFailed
    return kind(list(faults))


def check_form(schema: type[Schema], raw: Any) -> tuple[Schema | None, list[Fault]]:
    """Hold a parsed body against a schema."""
    try:
        return schema.model_validate(raw), []
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False)
        return None, [Fault(pointer=pointer_of(one["loc"]), detail=sentence(one)) for one in found]


def check_task(raw: Any, meaning: Meaning, now: datetime) -> tuple[TaskIn | None, list[Fault]]:
    """Hold a parsed submission against form and meaning; every fault of both is told."""
    task, faults = check_form(TaskIn, raw)
    told = {fault.pointer for fault in faults}
    if isinstance(raw, dict):
        faults += [fault for fault in _meant(raw, meaning, now) if fault.pointer not in told]
    return (task if not faults else None), faults


def canonical_sha256(task: TaskIn, system_code: str) -> str:
    """Hash of a validated submission; the same for bodies that mean the same."""
    values = task.model_dump(mode="json") | {"system_code": system_code}
    canonical = json.dumps(values, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(canonical.encode()).hexdigest()


def _meant(raw: dict[str, Any], meaning: Meaning, now: datetime) -> Iterator[Fault]:
    """Check what can be checked of values that may still be of any type."""
    cameras = raw.get("cameras")
    cameras = cameras if isinstance(cameras, list) else []
    if isinstance(raw.get("callback_url"), str):
        yield from url_faults(raw["callback_url"], "/callback_url", CallbackUrlBlocked.code, meaning.urls)
    yield from _model_and_prompt(raw, cameras, meaning, now)
    for index, camera in enumerate(cameras):
        if isinstance(camera, dict):
            yield from _camera(camera, f"/cameras/{index}", meaning.urls)


def _model_and_prompt(
    raw: dict[str, Any], cameras: Sequence[Any], meaning: Meaning, now: datetime
) -> Iterator[Fault]:
    asked, prompt = raw.get("model"), raw.get("prompt")
    if isinstance(asked, str) and meaning.catalogue.find(asked) is None:
        known = ", ".join(meaning.catalogue.names)
        yield Fault(
            pointer="/model", detail=f"{_short(asked)} is not known; known: {known}", code="unknown_model"
        )
        return
    if not isinstance(prompt, str):
        return
    wanted = prompt.strip().upper()
    for name in _models(asked, cameras, meaning, now):
        spec = meaning.catalogue.find(name)
        if spec is not None and not spec.knows(wanted):
            known = ", ".join(spec.prompts)
            detail = f"{_short(wanted)} is not known; known: {known} (model {name})"
            yield Fault(pointer="/prompt", detail=detail, code="unknown_prompt")
            return


def _models(asked: Any, cameras: Sequence[Any], meaning: Meaning, now: datetime) -> Iterable[str]:
    """The models that will look at the pictures, each once."""
    if isinstance(asked, str):
        return [asked]
    moments = []
    for camera in cameras or [{}]:
        text = camera.get("capture_time") if isinstance(camera, dict) else None
        try:
            moments.append(meaning.moment(text if isinstance(text, str) else None, now))
        except ValueError:
            continue
    return dict.fromkeys(meaning.model_of(None, moment) for moment in moments)


def _camera(camera: dict[str, Any], at: str, urls: UrlRules) -> Iterator[Fault]:
    url = camera.get("image_url")
    if isinstance(url, str) and url.startswith(_UPLOAD) and not is_upload(url):
        yield Fault(pointer=f"{at}/image_url", detail=_NOT_AN_UPLOAD)
    elif isinstance(url, str) and not is_upload(url):
        yield from url_faults(url, f"{at}/image_url", ImageUrlBlocked.code, urls)
    size, areas = camera.get("camera_size"), camera.get("monitor_areas")
    if isinstance(size, list) and len(size) == 2 and all(type(side) is int and side > 0 for side in size):
        yield from _areas(areas, size, f"{at}/monitor_areas")


def is_upload(url: str) -> bool:
    """Whether a url names an uploaded picture."""
    return _UPLOADED.fullmatch(url) is not None


def url_faults(url: str, pointer: str, blocked_code: str, urls: UrlRules) -> Iterator[Fault]:
    """What can be found wrong with an url without looking its name up."""
    try:
        urls.check_url(url)
    except BlockedAddress as error:
        yield Fault(pointer=pointer, detail=error.message, code=blocked_code)
    except InvalidUrl as error:
        yield Fault(pointer=pointer, detail=error.message)


def _areas(areas: Any, size: list[int], pointer: str) -> Iterator[Fault]:
    height, width = size
    try:
        for index, polygon in enumerate(read_areas(areas)):
            for number, (x, y) in enumerate(polygon):
                if not (0 <= x <= width and 0 <= y <= height):
                    detail = f"lies outside camera_size: x must be in 0..{width}, y in 0..{height}"
                    yield Fault(pointer=f"{pointer}/{index}/{number}", detail=detail)
    except (TypeError, ValueError):
        return  # of the wrong form, which is told already


def _short(text: str) -> str:
    return text if len(text) <= 40 else f"{text[:40]}…"
