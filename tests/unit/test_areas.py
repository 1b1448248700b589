"""Monitor areas: scaling, foot points, who stands where, what is counted."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from core.domain.areas import areas_in_picture, count, foot_point, lies_in
from core.domain.recognition import AreaCount, FoundObject, Point, Polygon
from core.errors import AreaOutsidePicture

SQUARE: Polygon = ((0, 0), (10, 0), (10, 10), (0, 10))
L_SHAPE: Polygon = ((0, 0), (10, 0), (10, 4), (4, 4), (4, 10), (0, 10))
TWO_TRIANGLES_TOUCHING: Polygon = ((0, 0), (5, 5), (0, 10), (10, 10), (5, 5), (10, 0))
BOW_TIE: Polygon = ((0, 0), (10, 10), (10, 0), (0, 10))


def found(label: str, foot: Point) -> FoundObject:
    x, y = foot
    return FoundObject(label=label, score=0.9, box=(x - 2, y - 5, x + 2, y))


@pytest.mark.parametrize(
    ("polygon", "point", "inside"),
    [
        (SQUARE, (5, 5), True),
        (SQUARE, (5, 10), True),
        (SQUARE, (0, 0), True),
        (SQUARE, (10, 3.3), True),
        (SQUARE, (10.001, 3.3), False),
        (SQUARE, (5, -0.001), False),
        (SQUARE, (-3, 10), False),
        (SQUARE, (13, 0), False),
        (L_SHAPE, (2, 8), True),
        (L_SHAPE, (8, 2), True),
        (L_SHAPE, (8, 8), False),
        (L_SHAPE, (4, 4), True),
        (L_SHAPE, (4, 7), True),
        (L_SHAPE, (4.01, 7), False),
        (TWO_TRIANGLES_TOUCHING, (5, 5), True),
        (TWO_TRIANGLES_TOUCHING, (5, 8), True),
        (TWO_TRIANGLES_TOUCHING, (5, 2), True),
        (TWO_TRIANGLES_TOUCHING, (1, 5), False),
        (BOW_TIE, (2, 5), True),
        (BOW_TIE, (5, 2), False),
        (BOW_TIE, (2, 1), False),
        (BOW_TIE, (9, 5), True),
        (((0, 0), (10, 0), (10, 0), (10, 10), (0, 10)), (5, 5), True),
        (((3, 3), (3, 3), (3, 3)), (3, 3), True),
        (((3, 3), (3, 3), (3, 3)), (3, 3.1), False),
    ],
)
def test_a_point_on_an_edge_is_in_and_beside_it_is_out(polygon: Polygon, point: Point, inside: bool) -> None:
    assert lies_in(point, polygon) is inside
    assert lies_in(point, tuple(reversed(polygon))) is inside


coordinates = st.integers(0, 12)
points = st.tuples(coordinates, coordinates)


@given(polygon=st.lists(points, min_size=3, max_size=8).map(tuple), point=points)
@example(polygon=((0, 0), (4, 4), (8, 0), (8, 8)), point=(2, 4))
def test_the_answer_is_that_of_exact_arithmetic(polygon: Polygon, point: Point) -> None:
    assert lies_in(point, polygon) is exactly_in(point, polygon)


@given(
    polygon=st.lists(points, min_size=3, max_size=8).map(tuple),
    index=st.integers(0, 7),
    share=st.floats(0, 1),
    size=st.tuples(st.integers(1, 9000), st.integers(1, 9000)),
)
def test_a_point_on_a_scaled_edge_is_always_in(
    polygon: Polygon, index: int, share: float, size: tuple[int, int]
) -> None:
    (scaled,) = areas_in_picture([polygon], (12, 12), *size)
    (ax, ay), (bx, by) = scaled[index % len(scaled)], scaled[(index + 1) % len(scaled)]
    assert lies_in((ax + (bx - ax) * share, ay + (by - ay) * share), scaled)


def exactly_in(point: Point, polygon: Polygon) -> bool:
    """Even-odd rule in fractions, edges included."""
    x, y = Fraction(point[0]), Fraction(point[1])
    inside = False
    for start, end in zip(polygon, (*polygon[1:], polygon[0]), strict=True):
        ax, ay, bx, by = (Fraction(c) for c in (*start, *end))
        cross = (bx - ax) * (y - ay) - (by - ay) * (x - ax)
        if cross == 0 and min(ax, bx) <= x <= max(ax, bx) and min(ay, by) <= y <= max(ay, by):
            return True
        if (ay > y) != (by > y) and x < ax + (y - ay) * (bx - ax) / (by - ay):
            inside = not inside
    return inside


def test_areas_follow_the_picture_when_it_has_another_size_than_the_camera() -> None:
    assert areas_in_picture([((0, 0), (512, 0), (512, 384))], (384, 512), 1024, 768) == (
        ((0, 0), (1024, 0), (1024, 768)),
    )
    assert areas_in_picture([((0, 0), (100, 0), (50, 200))], (200, 100), 50, 400) == (
        ((0, 0), (50, 0), (25, 400)),
    )


def test_areas_without_a_camera_size_are_in_the_pictures_own_pixels() -> None:
    assert areas_in_picture([SQUARE], None, 10, 10) == (SQUARE,)


@pytest.mark.parametrize("point", [(11, 5), (5, 11), (-0.5, 5), (5, -1), (float("nan"), 5)])
def test_a_point_outside_the_picture_fails_it(point: Point) -> None:
    with pytest.raises(AreaOutsidePicture, match="Monitor area 1"):
        areas_in_picture([SQUARE, (*SQUARE, point)], None, 10, 10)


def test_the_foot_point_is_the_middle_of_the_bottom_edge() -> None:
    assert foot_point((242, 284, 940, 704)) == (591, 704)


def test_without_areas_everything_counts() -> None:
    tally = count([found("COW", (3, 3)), found("COW", (99, 99))], (), "COW")
    assert tally.counts == {"COW": 2}
    assert tally.total == 2
    assert tally.areas == ()
    assert [one.areas for one in tally.objects] == [(), ()]


def test_with_areas_only_what_stands_in_one_counts_and_each_counts_once() -> None:
    objects = [found("COW", (5, 5)), found("COW", (8, 8)), found("COW", (50, 50))]
    tally = count(objects, (SQUARE, L_SHAPE), "COW")
    assert tally.counts == {"COW": 2}
    assert tally.total == 2
    both = count([found("COW", (2, 2))], (SQUARE, L_SHAPE), "COW")
    assert both.objects[0].areas == (0, 1)
    assert both.counts == {"COW": 1}
    assert both.total == 1
    assert both.areas == (AreaCount(index=0, counts={"COW": 1}), AreaCount(index=1, counts={"COW": 1}))


def test_the_asked_label_is_there_even_when_none_was_found() -> None:
    tally = count([], (SQUARE,), "COW")
    assert tally.counts == {"COW": 0}
    assert tally.areas == (AreaCount(index=0, counts={"COW": 0}),)
    assert tally.total == 0


def test_all_lists_only_the_labels_found_where_it_counts() -> None:
    objects = [found("SHEEP", (5, 5)), found("COW", (6, 6)), found("DOG", (50, 50))]
    tally = count(objects, (SQUARE, ((40, 0), (45, 0), (45, 5))), None)
    assert tally.counts == {"COW": 1, "SHEEP": 1}
    assert tally.total == 2
    assert tally.areas == (AreaCount(index=0, counts={"COW": 1, "SHEEP": 1}), AreaCount(index=1, counts={}))
    assert len(tally.objects) == 3
    assert count([], (), None).counts == {}
