"""What a picture file is, by its first bytes; names and Content-Type are not believed."""

from __future__ import annotations

from enum import StrEnum

SNIFF_BYTES = 18
"""So many first bytes decide."""

_BMP_HEADER_SIZES = frozenset({12, 16, 40, 52, 56, 64, 108, 124})


class PictureFormat(StrEnum):
    """The formats that are accepted."""

    JPEG = "JPEG"
    PNG = "PNG"
    WEBP = "WEBP"
    GIF = "GIF"
    BMP = "BMP"
    TIFF = "TIFF"


_MAGIC = (
    (b"\xff\xd8\xff", PictureFormat.JPEG),
    (b"\x89PNG\r\n\x1a\n", PictureFormat.PNG),
    (b"GIF87a", PictureFormat.GIF),
    (b"GIF89a", PictureFormat.GIF),
    (b"II*\x00", PictureFormat.TIFF),
    (b"MM\x00*", PictureFormat.TIFF),
    (b"II+\x00", PictureFormat.TIFF),
    (b"MM\x00+", PictureFormat.TIFF),
)


def picture_format(head: bytes | bytearray) -> PictureFormat | None:
    """Tell the format from at least SNIFF_BYTES first bytes; None = no picture we accept."""
    if len(head) < SNIFF_BYTES:
        return None
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return PictureFormat.WEBP
    if head[:2] == b"BM":  # two letters of text too: the size of the second header decides
        is_bitmap = int.from_bytes(head[14:18], "little") in _BMP_HEADER_SIZES
        return PictureFormat.BMP if is_bitmap else None
    return next((kind for magic, kind in _MAGIC if head.startswith(magic)), None)
