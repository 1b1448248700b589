"""Pictures we keep: annotated ones for as long as their task, uploads for a day.

Keys are made here from ids and random tokens, never from what a caller sends; a key or token that
does not look like one of ours is not looked up.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
import secrets
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import obstore
from obstore.exceptions import BaseError, NotFoundError
from obstore.store import LocalStore, ObjectStore

from core.errors import MediaUnavailable, NotFound

SHARDS = 256
_FOLDER = "annotated"
_ANNOTATED = re.compile(rf"{_FOLDER}/[0-9a-f]{{2}}/[0-9]{{1,20}}/[0-9]{{1,20}}\.jpg")
_TOKEN = re.compile(r"[0-9a-f]{32}")
_UPLOADS = "uploads"
_DELETED_AT_ONCE = _LISTED_AT_ONCE = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaStoreSettings:
    """Where pictures are kept and how long one read or write may take."""

    folder: Path
    timeout_seconds: float = 10.0


class Media:
    """A folder of pictures behind an object store's interface.

    Every method raises MediaUnavailable when the store fails or takes too long: a full disk, a
    folder that is gone, a permission that is missing.
    """

    def __init__(self, settings: MediaStoreSettings) -> None:
        """Open the store; raises MediaUnavailable when the folder cannot be made."""
        self._timeout_seconds = settings.timeout_seconds
        try:
            self._store: ObjectStore = LocalStore(settings.folder, mkdir=True, automatic_cleanup=True)
        except (BaseError, OSError) as error:
            raise MediaUnavailable from error

    async def put_annotated(self, task_id: int, recognition_id: int, jpeg: bytes) -> str:
        """Keep an annotated picture, in place of an earlier one of the same recognition; returns its key."""
        # Ids made in the same millisecond share their low bits, so folders are spread by a hash.
        shard = hashlib.sha256(str(task_id).encode()).hexdigest()[:2]
        key = f"{_FOLDER}/{shard}/{task_id}/{recognition_id}.jpg"
        await self._put(key, jpeg)
        return key

    async def read(self, key: str) -> bytes:
        """The picture at a key of `put_annotated`; raises NotFound."""
        if not _ANNOTATED.fullmatch(key):
            raise NotFound
        return await self._get(key)

    async def delete(self, keys: Iterable[str]) -> None:
        """Remove pictures; those that are gone already are no fault."""
        async with self._limited():
            for key in keys:
                if _ANNOTATED.fullmatch(key):
                    await self._forget([key])

    async def annotated(self, shard: int) -> dict[int, list[str]]:
        """The keys in one of the `SHARDS` folders of annotated pictures, by their task's id."""
        found: dict[int, list[str]] = {}
        async with self._limited():
            async for batch in obstore.list(
                self._store, f"{_FOLDER}/{shard:02x}", chunk_size=_LISTED_AT_ONCE
            ):
                for item in batch:
                    if _ANNOTATED.fullmatch(item["path"]):
                        found.setdefault(int(item["path"].split("/")[2]), []).append(item["path"])
        return found

    async def put_upload(self, content: bytes) -> str:
        """Keep a caller's picture under a token nobody can guess; returns the token."""
        token = secrets.token_hex(16)
        await self._put(_upload_key(token), content)
        return token

    async def read_upload(self, token: str) -> bytes:
        """The picture behind a token; raises NotFound."""
        if not _TOKEN.fullmatch(token):
            raise NotFound
        return await self._get(_upload_key(token))

    async def purge_uploads(self, older_than: datetime) -> int:
        """Remove uploads stored before `older_than` (aware); returns how many. Goes on where it stopped."""
        removed = 0
        async with self._limited():
            async for batch in obstore.list(self._store, _UPLOADS, chunk_size=_DELETED_AT_ONCE):
                stale = [item["path"] for item in batch if item["last_modified"] < older_than]
                await self._forget(stale)
                removed += len(stale)
        return removed

    async def _put(self, key: str, content: bytes) -> None:
        async with self._limited():
            await obstore.put_async(self._store, key, content)

    async def _get(self, key: str) -> bytes:
        async with self._limited():
            found = await obstore.get_async(self._store, key)
            return bytes(await found.bytes_async())

    async def _forget(self, keys: list[str]) -> None:
        for key in keys:
            try:
                await obstore.delete_async(self._store, key)
            except (NotFoundError, FileNotFoundError):
                continue

    @asynccontextmanager
    async def _limited(self) -> AsyncIterator[None]:
        """Keep the time limit and turn the store's errors into ours."""
        try:
            async with asyncio.timeout(self._timeout_seconds):
                yield
        except (NotFoundError, FileNotFoundError) as error:
            raise NotFound from error
        except (BaseError, OSError) as error:
            # TimeoutError is an OSError.
            raise MediaUnavailable from error


def _upload_key(token: str) -> str:
    return f"{_UPLOADS}/{token[:2]}/{token}"
