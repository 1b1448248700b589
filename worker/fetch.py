"""The first step of an attempt: a picture's url to its bytes. What the bytes mean is not known here."""

from __future__ import annotations

import asyncio
from typing import Protocol

from core.errors import FetchFailed, FetchTimeout, NotFound
from core.net import GuardedClient

UPLOAD_SCHEME = "upload:"


class UploadReader(Protocol):
    """Where uploaded pictures are kept."""

    async def read_upload(self, token: str) -> bytes:
        """Read an upload; raises FileNotFoundError or NotFound when it is not there any more."""
        ...


class PictureSource:
    """Reads pictures from wherever their urls say: uploads from the media store, others by http."""

    def __init__(
        self,
        client: GuardedClient,
        uploads: UploadReader | None = None,
        *,
        upload_timeout_seconds: float = 20,
    ) -> None:
        self._client = client
        self._uploads = uploads
        self._upload_timeout_seconds = upload_timeout_seconds

    async def read(self, url: str, *, traceparent: str | None = None) -> bytes:
        """Read one picture's bytes.

        Raises:
            FetchError or NotAnImage, as `GuardedClient.fetch_picture` says; every failure is one.
        """
        if url.startswith(UPLOAD_SCHEME):
            return await self._read_upload(url.removeprefix(UPLOAD_SCHEME))
        picture = await self._client.fetch_picture(url, traceparent=traceparent)
        return picture.content

    async def _read_upload(self, token: str) -> bytes:
        if self._uploads is None:
            raise FetchFailed("Uploads are not kept here.")
        try:
            async with asyncio.timeout(self._upload_timeout_seconds):
                return await self._uploads.read_upload(token)
        except (FileNotFoundError, NotFound):
            raise FetchFailed("The upload is not there any more.") from None
        except TimeoutError as late:
            raise FetchTimeout("The upload could not be read in time.") from late
