"""Manners that no linter knows."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.sources import ROOT, imports_of, is_below, python_files, text_files, text_of, tree_of

_VAGUE_NAMES = {"data", "info", "manager", "helper", "helpers", "util", "utils", "process", "handle", "misc"}
_IGNORE = re.compile(r"#\s*type:\s*ignore(?P<codes>\[[\w, -]+\])?(?P<reason>.*)")
_THIS_FILE = Path(__file__).relative_to(ROOT)

_FORBIDDEN_TEXT = {
    "an address of a package registry": r"https?://[^\s\"')]*(pypi\.|pythonhosted|npmjs|crates\.io|/simple\b)",
    "an option that names a registry": r"--(extra-)?index-url\b|--find-links\b",
    "a path of somebody's machine": r"(?<![\w.])/(root|home/\w+|Users/\w+|work|mnt|opt/(pypi|wheels))/\w",
    "a note to oneself": r"\b(TODO|FIXME|XXX|HACK)\b",
    "a linter silenced": r"#\s*(noqa|ruff:\s*noqa|pylint:|flake8:)",
}


@pytest.mark.parametrize("what", _FORBIDDEN_TEXT)
def test_no_file_holds(what: str) -> None:
    pattern = re.compile(_FORBIDDEN_TEXT[what])
    found = [
        f"{path}:{number}: {line.strip()}"
        for path in text_files()
        if path != _THIS_FILE
        for number, line in enumerate(text_of(path).splitlines(), 1)
        if pattern.search(line)
    ]
    assert found == []


def test_an_ignored_type_error_names_its_code_and_its_reason() -> None:
    found = [
        f"{path}: {match[0]}"
        for path in python_files()
        if path != _THIS_FILE
        for match in _IGNORE.finditer(text_of(path))
        if not match["codes"] or len(match["reason"].strip(" #-:")) < 10
    ]
    assert found == []


def test_no_package_file_stands_where_it_would_shadow_an_installed_package() -> None:
    found = [str(path) for path in python_files() if path.name == "__init__.py"]
    assert [path for path in found if path.startswith(("tests/", "alembic/"))] == []


def test_a_module_has_a_name_that_says_something() -> None:
    found = [str(path) for path in python_files() if path.stem.strip("_") in _VAGUE_NAMES]
    assert found == []


def test_the_tests_replace_nothing_of_ours() -> None:
    mocks = [path for path in python_files() if any("mock" in name for name in imports_of(path))]
    patches = [path for path in python_files() if re.search(r"monkeypatch\.(setattr|setitem)", text_of(path))]
    assert [str(path) for path in (*mocks, *patches) if path != _THIS_FILE] == []


def _own_nodes(function: ast.AST) -> Iterator[ast.AST]:
    """Walk a function without the ones inside it: a slow server in a test may sleep."""
    for node in ast.iter_child_nodes(function):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node
            yield from _own_nodes(node)


def _sleeps(test: ast.AST) -> list[int]:
    return [
        node.lineno
        for node in _own_nodes(test)
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("time.sleep", "asyncio.sleep")
        if not (node.args and isinstance(node.args[0], ast.Constant) and node.args[0].value == 0)
    ]


def test_no_test_waits_by_sleeping() -> None:
    found = [
        f"{path}:{line}"
        for path in python_files()
        if is_below(path, "tests") and path.name.startswith("test_")
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_")
        for line in _sleeps(node)
    ]
    assert found == []
