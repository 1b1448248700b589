"""Pictures: uploads that come in, annotated ones that go out."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from app.auth import Principal
from core.clock import utc_now
from core.domain.picture import SNIFF_BYTES, picture_format
from core.errors import Fault, NotFound, ValidationFailed
from core.foundation import Foundation
from core.store.tasks import get_task

_NOT_A_PICTURE = "must be the bytes of a JPEG, PNG, WebP, GIF, BMP or TIFF picture"


@dataclass(frozen=True, slots=True, kw_only=True)
class Upload:
    """A picture that was taken in."""

    url: str
    expires_at: datetime


class PictureService:
    """Use cases around picture files."""

    def __init__(self, base: Foundation) -> None:
        self._base = base

    async def take_in(self, content: bytes) -> Upload:
        """Keep an uploaded picture for a day; raises ValidationFailed, MediaUnavailable."""
        if picture_format(content[:SNIFF_BYTES]) is None:
            raise ValidationFailed([Fault(pointer="", detail=_NOT_A_PICTURE)])
        token = await self._base.media.put_upload(content)
        ttl = timedelta(seconds=self._base.settings.media.upload_ttl_seconds)
        return Upload(url=f"upload:{token}", expires_at=utc_now() + ttl)

    def is_signed(self, task_id: int, recognition_id: int, expires: str, signature: str) -> bool:
        """Whether a link to a picture is ours and not over."""
        if not (expires.isascii() and expires.isdigit() and len(expires) <= 12):
            return False
        return self._base.links.verify(task_id, recognition_id, int(expires), signature, now=utc_now())

    async def annotated(self, task_id: int, recognition_id: int, principal: Principal | None) -> bytes:
        """An annotated picture as JPEG; a signed link needs no principal. Raises NotFound."""
        owner = None if principal is None else principal.system_code
        task = await get_task(self._base.db, task_id, system_code=owner)
        pictures = () if task is None else task.recognitions
        key = next((picture.media_key for picture in pictures if picture.id == recognition_id), None)
        if key is None:
            raise NotFound("There is no such picture.")
        return await self._base.media.read(key)
