"""Bytes to upright RGB pixels, for good files and for bad ones."""

from __future__ import annotations

import zlib

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from core.errors import DecodeFailed, NotAnImage, TooManyPixels
from tests.support.pictures import (
    COWS,
    encoded,
    one_colour_png,
    photo,
    png_chunk,
    stored_turned,
    webp_header,
)
from worker.decode import decode


@pytest.fixture(scope="module")
def cows() -> Image.Image:
    return photo(COWS)


def difference(pixels: NDArray[np.uint8], image: Image.Image) -> float:
    """Mean difference of two pictures in grey levels."""
    return float(np.abs(pixels.astype(int) - np.asarray(image.convert("RGB")).astype(int)).mean())


def test_the_demo_photo_decodes_to_rgb_bytes() -> None:
    picture = decode(COWS.read_bytes())
    assert picture.pixels.shape == (768, 1024, 3)
    assert picture.pixels.dtype == np.uint8
    assert (picture.width, picture.height, picture.channels) == (1024, 768, 3)


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF"])
def test_six_formats_decode_to_the_same_picture(cows: Image.Image, form: str) -> None:
    picture = decode(encoded(cows, form))
    assert picture.pixels.shape == (768, 1024, 3)
    assert difference(picture.pixels, cows) < 12


@pytest.mark.parametrize("mode", ["L", "LA", "P", "RGBA", "CMYK", "YCbCr", "LAB", "PA"])
@pytest.mark.parametrize("form", ["PNG", "TIFF", "JPEG"])
def test_every_colour_mode_looks_like_the_picture_it_is(cows: Image.Image, mode: str, form: str) -> None:
    image = cows.convert("P").convert("PA") if mode == "PA" else cows.convert(mode)
    try:
        content = encoded(image, form)
    except OSError:
        return  # this format has no such mode
    pixels = decode(content).pixels
    assert pixels.shape == (768, 1024, 3)
    assert difference(pixels, cows.convert("L") if mode in {"L", "LA"} else cows) < 15


@pytest.mark.parametrize(
    ("kind", "factor", "form"),
    [("uint16", 257, "PNG"), ("uint16", 257, "TIFF"), ("int32", 257, "TIFF"), ("float32", 1, "TIFF")],
)
def test_deep_grey_keeps_its_brightness(cows: Image.Image, kind: str, factor: int, form: str) -> None:
    grey = cows.convert("L")
    deep = Image.fromarray((np.asarray(grey).astype(np.int64) * factor).astype(kind))
    assert difference(decode(encoded(deep, form)).pixels, grey) < 1


def test_grey_floats_from_0_to_1_fill_the_range(cows: Image.Image) -> None:
    grey = cows.convert("L")
    deep = Image.fromarray(np.asarray(grey).astype(np.float32) / 255)
    assert difference(decode(encoded(deep, "TIFF")).pixels, grey) < 1


def test_black_and_white_decodes(cows: Image.Image) -> None:
    assert set(np.unique(decode(encoded(cows.convert("1"), "PNG")).pixels)) == {0, 255}


@pytest.mark.parametrize("form", ["PNG", "WEBP", "TIFF"])
def test_what_is_transparent_is_shown_over_white(form: str) -> None:
    image = Image.new("RGBA", (20, 10), (0, 0, 0, 0))
    image.paste((200, 30, 40, 255), (0, 0, 10, 10))
    pixels = decode(encoded(image, form, **({"lossless": True} if form == "WEBP" else {}))).pixels
    assert pixels[5, 15].tolist() == [255, 255, 255]
    assert pixels[5, 5].tolist() == [200, 30, 40]


def test_a_transparent_palette_colour_is_shown_over_white() -> None:
    image = Image.new("P", (20, 10), 1)
    image.putpalette([0, 0, 0, 10, 20, 30])
    image.paste(0, (0, 0, 10, 10))
    for form in ("GIF", "PNG"):
        pixels = decode(encoded(image, form, transparency=0)).pixels
        assert pixels[5, 5].tolist() == [255, 255, 255]
        assert pixels[5, 15].tolist() == [10, 20, 30]


def test_a_transparent_rgb_colour_is_shown_over_white() -> None:
    image = Image.new("RGB", (20, 10), (1, 2, 3))
    assert decode(encoded(image, "PNG", transparency=(1, 2, 3))).pixels[5, 5].tolist() == [255, 255, 255]


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_a_picture_stored_on_its_side_is_turned_upright(
    cows: Image.Image, orientation: int, form: str
) -> None:
    picture = decode(stored_turned(cows, orientation, form))
    assert (picture.width, picture.height) == (1024, 768)
    assert picture.pixels.shape == (768, 1024, 3)
    assert difference(picture.pixels, cows) < 8


def test_unreadable_exif_leaves_the_picture_as_it_lies(cows: Image.Image) -> None:
    broken = b"Exif\0\0" + b"MM\0*\0\0\0\x08" + b"\xff\xff" + b"A" * 60_000
    assert decode(encoded(cows, "JPEG", exif=broken)).pixels.shape == (768, 1024, 3)


def test_an_animation_gives_its_first_frame() -> None:
    frames = [Image.new("RGB", (20, 10), colour) for colour in ((255, 0, 0), (0, 255, 0), (0, 0, 255))]
    for form in ("GIF", "WEBP", "TIFF", "PNG"):
        content = encoded(frames[0], form, save_all=True, append_images=frames[1:])
        red, green, blue = decode(content).pixels[5, 10].tolist()
        assert red > 240
        assert green + blue < 20


def test_a_multi_picture_jpeg_of_a_phone_decodes(cows: Image.Image) -> None:
    content = encoded(cows, "MPO", save_all=True, append_images=[cows])
    assert difference(decode(content).pixels, cows) < 8


def test_a_large_jpeg_is_drafted_and_tells_its_full_size(cows: Image.Image) -> None:
    large = stored_turned(cows.resize((4096, 3072)), 6)
    picture = decode(large, draft_side_pixels=1050)
    assert (picture.width, picture.height) == (4096, 3072)
    assert picture.pixels.shape == (1536, 2048, 3)
    assert difference(picture.pixels, cows.resize((2048, 1536))) < 8
    assert decode(large).pixels.shape == (3072, 4096, 3)


def test_a_small_jpeg_is_never_drafted(cows: Image.Image) -> None:
    assert decode(encoded(cows, "JPEG"), draft_side_pixels=1050).pixels.shape == (768, 1024, 3)


@pytest.mark.parametrize(
    "content",
    [
        one_colour_png(30_000, 30_000),
        one_colour_png(6_400, 6_400, bits=8),
        one_colour_png(16_385, 10),
        one_colour_png(10, 16_385),
        webp_header(16_383, 16_383),
        webp_header(16_777_216, 256),
    ],
    ids=["900 MP", "41 MP", "too wide", "too high", "webp 268 MP", "webp wide"],
)
def test_too_many_pixels_are_refused_before_they_are_loaded(content: bytes) -> None:
    with pytest.raises(TooManyPixels, match="at most 40 megapixels"):
        decode(content)


def test_forty_megapixels_are_allowed() -> None:
    picture = decode(one_colour_png(8_000, 5_000))
    assert picture.pixels.shape == (5_000, 8_000, 3)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\0",
        b"<html><body>404</body></html>" * 100,
        b"BMW drives past",
        b"RIFF\x10\0\0\0WAVEfmt ",
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\nshowpage\n",
        b'<svg xmlns="http://www.w3.org/2000/svg"><image href="file:///etc/passwd"/></svg>',
        b"P6\n1 1\n255\n\0\0\0",
        b"\x1f\x8b\x08\0" + b"\0" * 100,
    ],
)
def test_what_is_no_picture_is_said_to_be_none(content: bytes) -> None:
    with pytest.raises(NotAnImage):
        decode(content)


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF"])
@pytest.mark.parametrize("share", [0.999, 0.6, 0.05, 0.002])
def test_a_picture_cut_off_is_damaged(cows: Image.Image, form: str, share: float) -> None:
    content = encoded(cows, form)
    with pytest.raises(DecodeFailed):
        decode(content[: max(16, int(len(content) * share))])


@pytest.mark.parametrize(
    "chunk",
    [
        png_chunk(b"zTXt", b"k\0\0" + zlib.compress(b"A" * 100_000_000, 9)),
        png_chunk(b"iCCP", b"p\0\0" + zlib.compress(b"A" * 100_000_000, 9)),
    ],
    ids=["text", "colour profile"],
)
def test_a_bomb_in_a_png_chunk_does_not_go_off(chunk: bytes) -> None:
    good = one_colour_png(64, 64)
    content = good[:33] + chunk + good[33:]
    try:
        assert decode(content).pixels.shape == (64, 64, 3)
    except DecodeFailed:
        return


@pytest.mark.parametrize("seed", range(60))
def test_damage_anywhere_is_a_picture_or_a_clear_error(cows: Image.Image, seed: int) -> None:
    chance = np.random.default_rng(seed)
    form = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")[seed % 6]
    content = bytearray(encoded(cows.resize((160, 120)), form))
    for position in chance.integers(0, min(len(content), 400 if seed % 2 else len(content)), 12):
        content[position] = int(chance.integers(0, 256))
    try:
        assert decode(bytes(content)).pixels.shape[2] == 3
    except (DecodeFailed, NotAnImage, TooManyPixels):
        return
