"""Files and functions that a reader can hold in the head."""

from __future__ import annotations

import ast
from pathlib import Path

from tests.support.sources import is_below, python_files, text_of, tree_of

MAX_FILE_LINES = 250
MAX_FUNCTION_LINES = 40


def _measured() -> list[Path]:
    # A migration is written once, from top to bottom, and never touched again.
    return [path for path in python_files() if not is_below(path, "alembic/versions")]


def test_no_file_is_longer_than_250_lines() -> None:
    lengths = {str(path): len(text_of(path).splitlines()) for path in _measured()}
    assert {path: lines for path, lines in lengths.items() if lines > MAX_FILE_LINES} == {}


def test_no_function_is_longer_than_40_lines() -> None:
    lengths = {
        f"{path}:{node.name}": (node.end_lineno or node.lineno) - node.lineno + 1
        for path in _measured()
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    assert {name: lines for name, lines in lengths.items() if lines > MAX_FUNCTION_LINES} == {}
