"""Pictures for tests: the demo photos, their variants, and files made to do harm."""

from __future__ import annotations

import struct
import zlib
from io import BytesIO
from pathlib import Path
from typing import Any

from PIL import Image

PHOTOS = Path(__file__).resolve().parents[2] / "demo" / "photos"
COWS = PHOTOS / "cows.webp"
SHEEP = PHOTOS / "sheep.webp"

_BACK_FROM_UPRIGHT = {
    1: None,
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


def photo(path: Path) -> Image.Image:
    """A demo photo, loaded."""
    with Image.open(path) as image:
        return image.convert("RGB")


def encoded(image: Image.Image, form: str, **options: Any) -> bytes:
    """A picture as a file."""
    file = BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


def stored_turned(image: Image.Image, orientation: int, form: str = "JPEG", **options: Any) -> bytes:
    """A file whose pixels lie on their side and whose EXIF orientation says how to put them right."""
    back = _BACK_FROM_UPRIGHT[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    return encoded(image if back is None else image.transpose(back), form, exif=exif, **options)


def one_colour_png(width: int, height: int, bits: int = 1) -> bytes:
    """A PNG of one colour, a few kilobytes however many pixels it has; written without holding them."""
    row = b"\0" * ((width * bits + 7) // 8 + 1)
    packer = zlib.compressobj(9)
    packed = b"".join(packer.compress(row) for _ in range(height)) + packer.flush()
    head = struct.pack(">IIBBBBB", width, height, bits, 0, 0, 0, 0)
    chunks = ((b"IHDR", head), (b"IDAT", packed), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(png_chunk(kind, body) for kind, body in chunks)


def png_chunk(kind: bytes, body: bytes) -> bytes:
    """One chunk of a PNG file."""
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def webp_header(width: int, height: int) -> bytes:
    """A WebP file that promises a canvas and holds nothing."""
    body = b"VP8X" + struct.pack("<I", 10) + b"\0\0\0\0"
    body += (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    return b"RIFF" + struct.pack("<I", len(body) + 4) + b"WEBP" + body
