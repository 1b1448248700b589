"""Draw what was found on the picture: areas, boxes, labels with scores; JPEG out. Runs in a child process.

Objects that count are drawn strong, those outside every area pale and dashed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from io import BytesIO
from itertools import pairwise
from math import ceil, hypot

from PIL import Image, ImageDraw, ImageFont

from core.domain.areas import foot_point
from core.domain.recognition import FoundObject, Point, Polygon
from worker.decode import Picture

JPEG_QUALITY = 85

Box = tuple[float, float, float, float]
Colour = tuple[int, int, int]

_COUNTED: Colour = (255, 138, 31)
_OUTSIDE: Colour = (208, 214, 222)
_AREA: Colour = (64, 224, 208)
_INK: Colour = (18, 20, 24)
_AREA_OPACITY = 34
_EDGE_OPACITY = 110


def annotate(picture: Picture, objects: Sequence[FoundObject], areas: Sequence[Polygon]) -> bytes:
    """Draw areas and objects on a picture.

    Args:
        picture: The upright picture; the drawing has the size of its pixels, which may be drafted.
        objects: Boxes in pixels of the full picture, with the areas they stand in; best first.
        areas: Polygons in pixels of the full picture.

    Returns:
        A JPEG file.
    """
    image = Image.fromarray(picture.pixels)
    across, down = image.width / picture.width, image.height / picture.height
    canvas = _Canvas(image)
    scaled_areas = [tuple((x * across, y * down) for x, y in area) for area in areas]
    for area in scaled_areas:
        canvas.area(area)
    boxes = [_scaled(found.box, across, down) for found in objects]
    counts = [bool(found.areas) or not areas for found in objects]
    for box, counted in zip(reversed(boxes), reversed(counts), strict=True):
        canvas.box(box, counted)
    for index, area in enumerate(scaled_areas):
        left, top = min(area, key=sum)
        canvas.plate((left, top), f"AREA {index}", _AREA, above=False)
    for found, box, counted in reversed(list(zip(objects, boxes, counts, strict=True))):
        colour = _COUNTED if counted else _OUTSIDE
        canvas.plate((box[0], box[1]), f"{found.label} {found.score:.2f}", colour, above=True)
    if areas:
        for box, counted in zip(boxes, counts, strict=True):
            canvas.foot(foot_point(box), counted)
    file = BytesIO()
    image.save(file, "JPEG", quality=JPEG_QUALITY)
    return file.getvalue()


def _scaled(box: Box, across: float, down: float) -> Box:
    return (box[0] * across, box[1] * down, box[2] * across, box[3] * down)


@lru_cache(maxsize=8)
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


class _Canvas:
    """A picture being drawn on, with line and text sizes that suit it."""

    def __init__(self, image: Image.Image) -> None:
        side = min(image.size)
        self._size = image.size
        self._line = max(2, round(side / 240))
        self._text = max(11, round(side / 34))
        self._draw = ImageDraw.Draw(image, "RGBA")

    def area(self, corners: Polygon) -> None:
        """A tinted polygon with a clear edge."""
        self._draw.polygon(corners, fill=(*_AREA, _AREA_OPACITY))
        outline = (*corners, corners[0])
        self._draw.line(outline, fill=(*_INK, _EDGE_OPACITY), width=self._line + 2, joint="curve")
        self._draw.line(outline, fill=_AREA, width=self._line, joint="curve")

    def box(self, box: Box, counted: bool) -> None:
        """A box on a thin dark rim, solid when it counts, dashed when it does not."""
        x1, y1, x2, y2 = (round(side) for side in box)
        rim, radius = self._line + 2, self._line * 2
        if counted:
            self._draw.rounded_rectangle(
                (x1 - 1, y1 - 1, x2 + 1, y2 + 1), radius, outline=(*_INK, _EDGE_OPACITY), width=rim
            )
            self._draw.rounded_rectangle((x1, y1, x2, y2), radius, outline=_COUNTED, width=self._line)
            return
        corners = ((x1, y1), (x2, y1), (x2, y2), (x1, y2), (x1, y1))
        for start, end in pairwise(corners):
            for dash in _dashes(start, end, self._line * 5):
                self._draw.line(dash, fill=(*_INK, _EDGE_OPACITY), width=rim)
                self._draw.line(dash, fill=_OUTSIDE, width=self._line)

    def foot(self, point: Point, counted: bool) -> None:
        """A dot where the object stands: what decides which area it is in."""
        (x, y), radius = point, self._line * 2.0
        self._draw.ellipse(
            (x - radius, y - radius, x + radius, y + radius),
            fill=_COUNTED if counted else _OUTSIDE,
            outline=_INK,
        )

    def plate(self, corner: Point, text: str, colour: Colour, *, above: bool) -> None:
        """Text on a coloured plate at a corner, above or below it, kept inside the picture."""
        font, pad = _font(self._text), ceil(self._text / 3)
        left, top, right, bottom = self._draw.textbbox((0, 0), text, font=font, anchor="ls")
        wide, high = right - left + 2 * pad, bottom - top + 2 * pad
        x = max(0.0, min(round(corner[0]), self._size[0] - wide))
        y = max(0.0, min(round(corner[1]) - (high if above else 0), self._size[1] - high))
        self._draw.rounded_rectangle((x, y, x + wide, y + high), pad, fill=(*colour, 240))
        self._draw.text((x + pad - left, y + pad - top), text, font=font, fill=_INK, anchor="ls")


def _dashes(start: Point, end: Point, length: float) -> Iterator[tuple[Point, Point]]:
    """Cut a line into dashes as long as the gaps between them, a dash at either end."""
    (x1, y1), (x2, y2) = start, end
    pieces = max(1, ceil(hypot(x2 - x1, y2 - y1) / length)) | 1
    for piece in range(0, pieces, 2):
        here, there = piece / pieces, (piece + 1) / pieces
        yield (
            (x1 + (x2 - x1) * here, y1 + (y2 - y1) * here),
            (x1 + (x2 - x1) * there, y1 + (y2 - y1) * there),
        )
