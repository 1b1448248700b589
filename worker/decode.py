"""Bytes in, upright RGB pixels out, for bytes that may be hostile; runs in a child process only.

Pillow's 43 plug-ins are cut down to six formats, sizes are judged before anything is loaded, only
the first frame is looked at.
"""

from __future__ import annotations

import struct
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from io import BytesIO
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from core.errors import DecodeFailed, NotAnImage, TooManyPixels

if TYPE_CHECKING:
    from worker.recognisers.base import Pixels

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")
MAX_PIXELS = 40_000_000
MAX_SIDE = 16_384
CHANNELS = 3

_TOO_MANY = f"The picture is too large: at most {MAX_PIXELS // 10**6} megapixels and {MAX_SIDE} a side."

_MAGIC = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF87a", b"GIF89a", b"II*\0", b"MM\0*")
_BMP_HEADER_BYTES = frozenset({12, 16, 40, 52, 56, 64, 108, 124})
_ORIENTATION_TAG = 0x0112
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_TURNED = frozenset({5, 6, 7, 8})
_DAMAGE = (
    OSError,
    ValueError,
    SyntaxError,
    LookupError,
    ArithmeticError,
    TypeError,
    AttributeError,
    RuntimeError,
    EOFError,
    struct.error,
    zlib.error,
)
"""What Pillow raises on damaged files; MemoryError is left out: it is not the picture's fault alone."""

# Importing a plug-in registers it; without this the first WebP or TIFF makes Pillow import all 43.
for _format in FORMATS:
    import_module(f"PIL.{_format.capitalize()}ImagePlugin".replace("Webp", "WebP"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """A decoded picture: the size it has upright, and its pixels, fewer than that when drafted.

    `pixels` is a uint8 array `(height, width, 3)`, RGB, 0..255, read-only.
    """

    pixels: Pixels
    width: int
    height: int
    channels: int = CHANNELS


def decode(content: bytes, draft_side_pixels: int = 0) -> Picture:
    """Decode the first frame of a JPEG, PNG, WebP, GIF, BMP or TIFF picture.

    Args:
        content: The file; its name and media type do not matter.
        draft_side_pixels: A JPEG may be decoded at a fraction of its size while both sides keep
            this many pixels; 0 = never.

    Raises:
        NotAnImage: The bytes are none of the six formats.
        TooManyPixels: More than 40 megapixels, or a side above 16,384; nothing was loaded.
        DecodeFailed: Damaged or cut off.
    """
    with _open(content) as image:
        stored_width, stored_height = image.size
        _check_size(stored_width, stored_height)
        if draft_side_pixels:
            _draft(image, draft_side_pixels)
        try:
            image.load()
            turned = _orientation(image)
            upright = _to_rgb(image)
        except _DAMAGE as error:
            raise DecodeFailed from error
        if turned in _UPRIGHT:
            upright = upright.transpose(_UPRIGHT[turned])
        if turned in _TURNED:
            stored_width, stored_height = stored_height, stored_width
        return Picture(pixels=np.asarray(upright), width=stored_width, height=stored_height)


@contextmanager
def _open(content: bytes) -> Iterator[Image.Image]:
    """Read the header with the allowed formats only."""
    is_webp = content[:4] == b"RIFF" and content[8:12] == b"WEBP"
    is_bmp = content[:2] == b"BM" and int.from_bytes(content[14:18], "little") in _BMP_HEADER_BYTES
    if not (is_webp or is_bmp or content.startswith(_MAGIC)):
        raise NotAnImage
    if is_webp:
        _check_size(*_webp_size(content))
    with warnings.catch_warnings():
        # Corrupt EXIF and odd TIFF tags only warn; the size is judged by our own limit.
        warnings.simplefilter("ignore")
        try:
            image = Image.open(BytesIO(content), formats=FORMATS)
        except Image.DecompressionBombError as error:
            raise TooManyPixels(_TOO_MANY) from error
        except _DAMAGE as error:
            raise DecodeFailed from error
        with image:
            yield image


def _check_size(width: int, height: int) -> None:
    if width * height > MAX_PIXELS or max(width, height) > MAX_SIDE:
        raise TooManyPixels(_TOO_MANY)


def _webp_size(content: bytes) -> tuple[int, int]:
    """The canvas of a WebP file; Pillow allocates two of them already on opening (RFC 9649, section 2)."""
    kind, body = content[12:16], content[20:30]
    if len(body) < 10:
        raise DecodeFailed
    if kind == b"VP8X":
        return 1 + int.from_bytes(body[4:7], "little"), 1 + int.from_bytes(body[7:10], "little")
    if kind == b"VP8L":
        bits = int.from_bytes(body[1:5], "little")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    width, height = struct.unpack_from("<HH", body, 6)
    return width & 0x3FFF, height & 0x3FFF


def _draft(image: Image.Image, side_pixels: int) -> None:
    """Ask for the smallest of 1/1, 1/2, 1/4, 1/8 with both sides long enough; only JPEG heeds it."""
    scale = max((s for s in (1, 2, 4, 8) if min(image.size) // s >= side_pixels), default=1)
    if scale > 1:
        image.draft(None, (image.width // scale, image.height // scale))


def _orientation(image: Image.Image) -> int:
    """The EXIF orientation, 1 when there is none or it cannot be read; TIFF is turned by Pillow's load."""
    try:
        return int(image.getexif().get(_ORIENTATION_TAG, 1))
    except _DAMAGE:
        return 1


def _to_rgb(image: Image.Image) -> Image.Image:
    """Convert to RGB: 16 bits by their upper half, transparency over white as viewers show it."""
    if image.mode == "RGB" and "transparency" not in image.info:
        return image
    if image.mode.startswith("I") or image.mode == "F":
        return _from_deep_grey(image)
    if image.has_transparency_data:
        with_alpha = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(white, with_alpha).convert("RGB")
    return image.convert("RGB")


def _from_deep_grey(image: Image.Image) -> Image.Image:
    """Grey of 16 bits, 32 bits or floats to 8 bits; 32 bits are read as 16 unless they exceed them."""
    levels = np.array(image, dtype=np.float32)
    np.nan_to_num(levels, copy=False, nan=0.0, posinf=0.0, neginf=0.0)
    peak = float(levels.max())
    if image.mode == "F":
        full = 1.0 if peak <= 1.0 else 255.0 if peak <= 255.0 else peak
    else:
        full = 65_535.0 if peak <= 65_535.0 else peak
    # In place: 40 megapixels of floats are 160 MB.
    levels *= 255.0 / full
    levels += 0.5
    grey = np.clip(levels, 0, 255, out=levels).astype(np.uint8)
    return Image.fromarray(grey).convert("RGB")
