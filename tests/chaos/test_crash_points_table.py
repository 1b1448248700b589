"""All 27 crash points have a test, and the test points in the code are those that are written down."""

from __future__ import annotations

import ast
import re
from collections import Counter

import pytest

from core.errors import SettingsError
from core.foundation import Foundation
from core.settings import load_settings
from core.testpoints import POINTS
from tests.support.sources import ROOT, is_below, python_files, text_of, tree_of

POINTS_PAGE = ROOT / "docs" / "crash-points.md"
_ROW = re.compile(
    r"^\| (?P<number>\d+) \|.*\| `(?P<path>tests/[\w/]+\.py)::(?P<test>test_\w+)` \|$", re.MULTILINE
)
_REACHED = re.compile(r'\breach\("(?P<point>[a-z_.]+)"\)')


def test_each_of_the_27_crash_points_has_a_test_under_its_number() -> None:
    rows = list(_ROW.finditer(POINTS_PAGE.read_text(encoding="utf-8")))
    assert sorted({int(row["number"]) for row in rows}) == list(range(1, 28))
    for row in rows:
        tests = [
            node.name
            for node in ast.walk(tree_of(ROOT / row["path"]))
            if isinstance(node, ast.AsyncFunctionDef)
        ]
        assert row["test"] in tests, row["test"]
        assert row["test"].startswith(f"test_{row['number']}_"), row["test"]


def test_every_test_of_a_crash_point_stands_in_the_table() -> None:
    listed = {row["test"] for row in _ROW.finditer(POINTS_PAGE.read_text(encoding="utf-8"))}
    written = {
        node.name
        for path in python_files()
        if path.name.startswith("test_crash_points_")
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.AsyncFunctionDef) and re.match(r"test_\d+_", node.name)
    }
    assert written - listed == {"test_2_a_callers_own_id_gives_the_same_task"}


def test_every_test_point_is_reached_in_one_place_and_written_down() -> None:
    reached = Counter(
        match["point"]
        for path in python_files()
        if any(is_below(path, room) for room in ("app", "core", "worker"))
        for match in _REACHED.finditer(text_of(path))
    )
    assert reached == Counter(POINTS)
    page = POINTS_PAGE.read_text(encoding="utf-8")
    assert [point for point in sorted(POINTS) if f"`{point}" not in page] == []


@pytest.mark.parametrize(
    ("auth", "point", "told"),
    [
        ("on", "record.written", "MUSTER_AUTH=off"),
        ("off", "record.writen", "record.written"),
        ("off", "record.written:0", "name:number"),
    ],
)
async def test_a_test_point_is_refused_in_production_and_when_there_is_no_such_place(
    auth: str, point: str, told: str
) -> None:
    settings = load_settings(auth=auth, test_point=point, secret_key="k" * 32)
    with pytest.raises(SettingsError, match=re.escape(told)):
        async with Foundation.open(settings):
            raise AssertionError("it was taken")
