"""Where objects stand: monitor areas scaled to the picture, foot points, counts. Geometry from values alone.

Coordinates are pixels of the upright picture, x to the right and y down; sizes are `(height, width)`
as in the request, pictures `width, height`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from core.domain.recognition import AreaCount, FoundObject, Point, Polygon
from core.errors import AreaOutsidePicture

TOLERANCE = 1e-9
"""Distance from an edge that still counts as on it, relative to the largest coordinate in play."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """The objects with the areas they stand in, and what was counted."""

    objects: tuple[FoundObject, ...]
    counts: dict[str, int]
    areas: tuple[AreaCount, ...]
    total: int


def areas_in_picture(
    polygons: Sequence[Polygon], camera_size: tuple[int, int] | None, width: int, height: int
) -> tuple[Polygon, ...]:
    """Scale polygons from the camera's coordinate system to the picture.

    Args:
        polygons: As the request gave them.
        camera_size: `(height, width)` of their coordinate system; None = the picture's own.
        width: The picture's width in pixels.
        height: The picture's height in pixels.

    Raises:
        AreaOutsidePicture: A point lies outside the coordinate system.
    """
    camera_height, camera_width = camera_size or (height, width)
    for index, polygon in enumerate(polygons):
        if not all(0 <= x <= camera_width and 0 <= y <= camera_height for x, y in polygon):
            raise AreaOutsidePicture(
                f"Monitor area {index} has a point outside {camera_width} x {camera_height} pixels."
            )
    return tuple(
        tuple((x * width / camera_width, y * height / camera_height) for x, y in polygon)
        for polygon in polygons
    )


def foot_point(box: tuple[float, float, float, float]) -> Point:
    """Where an object touches the ground: the middle of the bottom edge of its box `(x1, y1, x2, y2)`."""
    x1, _, x2, y2 = box
    return ((x1 + x2) / 2, y2)


def lies_in(point: Point, polygon: Polygon) -> bool:
    """Tell whether a point lies in a polygon or on its edge.

    Polygons may be concave and may touch or cross themselves; what is enclosed an odd number of
    times is inside. The last point is joined to the first.
    """
    x, y = point
    scale = max(1.0, abs(x), abs(y), *(abs(c) for corner in polygon for c in corner))
    inside = False
    for start, end in zip(polygon, (*polygon[1:], polygon[0]), strict=True):
        if _on_segment(point, start, end, TOLERANCE * scale):
            return True
        (ax, ay), (bx, by) = start, end
        if (ay > y) != (by > y) and x < ax + (y - ay) * (bx - ax) / (by - ay):
            inside = not inside
    return inside


def _on_segment(point: Point, start: Point, end: Point, tolerance: float) -> bool:
    """Whether the distance from the point to the segment is at most `tolerance`."""
    (x, y), (ax, ay), (bx, by) = point, start, end
    dx, dy = bx - ax, by - ay
    squared = dx * dx + dy * dy
    along = 0.0 if squared == 0 else min(1.0, max(0.0, ((x - ax) * dx + (y - ay) * dy) / squared))
    away_x, away_y = x - (ax + along * dx), y - (ay + along * dy)
    return away_x * away_x + away_y * away_y <= tolerance * tolerance


def count(objects: Iterable[FoundObject], areas: Sequence[Polygon], asked_label: str | None) -> Tally:
    """Place objects in areas and count them.

    With areas only objects in at least one of them count, each once; without, all do.

    Args:
        objects: Every object that matches the prompt with the least score or more.
        areas: Polygons in the picture's pixels; empty = the whole picture.
        asked_label: The label that is listed even when none was found; None = only labels found.
    """
    placed = tuple(
        replace(found, areas=tuple(i for i, area in enumerate(areas) if lies_in(foot_point(found.box), area)))
        for found in objects
    )
    counted = [found for found in placed if found.areas or not areas]
    return Tally(
        objects=placed,
        counts=_by_label(counted, asked_label),
        areas=tuple(
            AreaCount(index=i, counts=_by_label([f for f in counted if i in f.areas], asked_label))
            for i in range(len(areas))
        ),
        total=len(counted),
    )


def _by_label(objects: Iterable[FoundObject], asked_label: str | None) -> dict[str, int]:
    counts = Counter(found.label for found in objects)
    if asked_label is not None:
        counts.setdefault(asked_label, 0)
    return dict(sorted(counts.items()))
