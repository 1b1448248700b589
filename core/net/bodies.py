"""Reading what a stranger sends: never more than asked for, never decompressed, never for ever."""

from __future__ import annotations

import asyncio
import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import httpx

from core.domain.picture import SNIFF_BYTES, picture_format
from core.errors import FetchFailed, NotAnImage, PictureTooLarge
from core.net.settings import NetSettings

_SECONDS = re.compile(r"[0-9]{1,9}", re.ASCII)


def is_compressed(response: httpx.Response) -> bool:
    """Whether the body is not what it stands for; unpacking it could yield any size."""
    codings = response.headers.get("content-encoding", "").split(",")
    return any(coding.strip().lower() not in ("", "identity") for coding in codings)


async def read_picture(response: httpx.Response, settings: NetSettings) -> bytes:
    """Read a picture's bytes.

    Raises:
        PictureTooLarge: It has, or claims to have, more bytes than allowed.
        NotAnImage: Its first bytes are not those of a picture.
        FetchFailed: It comes compressed.
        TimeoutError: It comes slower than the least rate.
    """
    if is_compressed(response):
        raise FetchFailed("The picture's server sent it with a Content-Encoding; it must come as it is.")
    claimed = response.headers.get("content-length", "")
    if claimed.isdecimal() and int(claimed) > settings.max_bytes:
        raise PictureTooLarge
    received = bytearray()
    started = asyncio.get_running_loop().time()
    async with asyncio.timeout_at(started + settings.min_rate_after_seconds) as pace:
        async for chunk in response.aiter_raw():
            had = len(received)
            received += chunk
            _check_content(received, settings.max_bytes, is_sniffed=had >= SNIFF_BYTES)
            due_seconds = max(settings.min_rate_after_seconds, len(received) / settings.min_bytes_per_second)
            pace.reschedule(started + due_seconds)
    if picture_format(received) is None:
        raise NotAnImage
    return bytes(received)


def _check_content(received: bytearray, max_bytes: int, *, is_sniffed: bool) -> None:
    if len(received) > max_bytes:
        raise PictureTooLarge
    if not is_sniffed and len(received) >= SNIFF_BYTES and picture_format(received) is None:
        raise NotAnImage


async def read_reply(response: httpx.Response, max_bytes: int) -> str:
    """Read the beginning of a receiver's answer as text; what is compressed is not read."""
    if is_compressed(response):
        return ""
    received = bytearray()
    async for chunk in response.aiter_raw():
        received += chunk
        if len(received) >= max_bytes:
            break
    return bytes(received[:max_bytes]).decode("utf-8", errors="replace")


def retry_after_seconds(response: httpx.Response, now: datetime | None = None) -> float | None:
    """Read Retry-After, seconds or date; None when absent or not understood."""
    text = response.headers.get("retry-after", "").strip()
    if _SECONDS.fullmatch(text):
        return float(text)
    try:
        due = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    if due.tzinfo is None:
        due = due.replace(tzinfo=UTC)
    return max(0.0, (due - (now or datetime.now(UTC))).total_seconds())
