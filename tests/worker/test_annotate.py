"""The annotated picture."""

from __future__ import annotations

from io import BytesIO

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from core.domain.recognition import FoundObject
from worker.annotate import annotate
from worker.decode import Picture

AREA = ((100.0, 100.0), (400.0, 100.0), (400.0, 300.0), (100.0, 300.0))
INSIDE = FoundObject(label="COW", score=0.97, box=(150, 150, 250, 250), areas=(0,))
OUTSIDE = FoundObject(label="COW", score=0.51, box=(450, 250, 600, 400))


def grey(width: int = 640, height: int = 480) -> Picture:
    return Picture(pixels=np.full((height, width, 3), 90, dtype=np.uint8), width=width, height=height)


def opened(jpeg: bytes) -> NDArray[np.int64]:
    with Image.open(BytesIO(jpeg)) as image:
        assert image.format == "JPEG"
        return np.asarray(image.convert("RGB")).astype(np.int64)


def has_hue(pixels: NDArray[np.int64], red: bool) -> bool:
    """Whether some pixel is clearly orange (red) or clearly turquoise (not red)."""
    lead = pixels[..., 0] - pixels[..., 2] if red else pixels[..., 1] - pixels[..., 0]
    return bool((lead > 60).any())


def test_the_drawing_is_a_jpeg_of_the_pictures_size() -> None:
    assert opened(annotate(grey(), [INSIDE], [AREA])).shape == (480, 640, 3)


def test_what_counts_is_orange_and_what_does_not_is_grey() -> None:
    drawn = opened(annotate(grey(), [INSIDE, OUTSIDE], [AREA]))
    assert has_hue(drawn[200, 145:156], red=True)
    outside = drawn[244:410, 440:610]
    assert not has_hue(outside, red=True)
    assert outside.max() > 180


def test_without_areas_everything_counts() -> None:
    assert has_hue(opened(annotate(grey(), [OUTSIDE], []))[300:340, 445:456], red=True)


def test_an_area_is_tinted_and_edged() -> None:
    drawn = opened(annotate(grey(), [], [AREA]))
    assert has_hue(drawn[200, 95:106], red=False)
    assert drawn[280, 350, 1] > drawn[450, 600, 1] + 5


def test_nothing_is_drawn_where_nothing_was_found() -> None:
    drawn = opened(annotate(grey(), [INSIDE, OUTSIDE], [AREA]))
    assert abs(drawn[430:, :] - 90).max() < 12
    assert abs(opened(annotate(grey(), [], [])) - 90).max() < 4


def test_a_drafted_picture_is_drawn_on_at_its_own_scale() -> None:
    small = Picture(pixels=np.full((240, 320, 3), 90, dtype=np.uint8), width=640, height=480)
    drawn = opened(annotate(small, [INSIDE], [AREA]))
    assert drawn.shape == (240, 320, 3)
    assert has_hue(drawn[100, 71:80], red=True)


def test_the_same_findings_give_the_same_bytes() -> None:
    assert annotate(grey(), [INSIDE], [AREA]) == annotate(grey(), [INSIDE], [AREA])


@pytest.mark.parametrize(("width", "height"), [(1, 1), (3, 200), (200, 3), (16, 16)])
def test_tiny_pictures_and_boxes_without_size_are_drawn(width: int, height: int) -> None:
    nothing = FoundObject(label="ELEPHANT", score=1.0, box=(width, height, width, height))
    everything = FoundObject(label="ELEPHANT", score=1.0, box=(0, 0, width, height))
    area = ((0.0, 0.0), (float(width), 0.0), (float(width), float(height)))
    drawn = opened(annotate(grey(width, height), [nothing, everything], [area]))
    assert drawn.shape == (height, width, 3)


def test_a_label_at_the_top_edge_stays_in_the_picture() -> None:
    found = FoundObject(label="COW", score=0.9, box=(600, 0, 640, 40))
    drawn = opened(annotate(grey(), [found], []))
    assert has_hue(drawn[2:12, 560:580], red=True)
