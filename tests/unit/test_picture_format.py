from __future__ import annotations

from io import BytesIO

import pytest
from PIL import Image

from core.domain.picture import SNIFF_BYTES, PictureFormat, picture_format


@pytest.mark.parametrize("kind", list(PictureFormat))
def test_a_real_picture_is_known_by_its_first_bytes(kind: PictureFormat) -> None:
    content = BytesIO()
    Image.new("RGB", (1, 1)).save(content, kind.value)
    assert picture_format(content.getvalue()[:SNIFF_BYTES]) is kind


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff\xd8\xff",
        b"<!doctype html><html>",
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        b"%PDF-1.7 ................",
        b"%!PS-Adobe-3.0 EPSF-3.0 ",
        b"BM is no bitmap but text",
        b"RIFF\x00\x00\x00\x00WAVEfmt ....",
        b"II*x................",
        b"\x1f\x8b\x08\x00................",
        b"GIF88a..............",
    ],
)
def test_what_is_no_picture_is_not_taken_for_one(content: bytes) -> None:
    assert picture_format(content) is None
