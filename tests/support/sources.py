"""The project's own files, for tests that read them."""

from __future__ import annotations

import ast
import os
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
ROOMS = ("core", "app", "worker", "client", "alembic", "tests", "benchmarks", "demo")
_LEFT_BY_TOOLS = {"__pycache__", "build", "dist", "node_modules"}
_HIDDEN_BUT_OURS = {".ci", ".github"}
_TEXT_SUFFIXES = {"", ".py", ".lua", ".md", ".toml", ".yml", ".yaml", ".txt", ".sh", ".html", ".css", ".js"}


def _walk(folder: Path) -> Iterator[Path]:
    for place, folders, names in os.walk(folder):
        folders[:] = [
            name
            for name in folders
            if name not in _LEFT_BY_TOOLS and (not name.startswith(".") or name in _HIDDEN_BUT_OURS)
        ]
        for name in names:
            yield Path(place, name).relative_to(ROOT)


@cache
def python_files() -> tuple[Path, ...]:
    """Give every Python file of ours, relative to the root."""
    found = (path for room in ROOMS for path in _walk(ROOT / room))
    return tuple(sorted(path for path in found if path.suffix == ".py"))


@cache
def text_files() -> tuple[Path, ...]:
    """Give every file of ours that people read, relative to the root."""
    return tuple(sorted(path for path in _walk(ROOT) if path.suffix in _TEXT_SUFFIXES))


@cache
def text_of(path: Path) -> str:
    """Read one of our files."""
    return (ROOT / path).read_text(encoding="utf-8", errors="replace")


@cache
def tree_of(path: Path) -> ast.Module:
    """Parse one of our Python files."""
    return ast.parse(text_of(path), filename=str(path))


@cache
def imports_of(path: Path) -> tuple[str, ...]:
    """Name every module that a file imports, with what it takes from it: `os`, `os.environ`."""
    names: list[str] = []
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return tuple(names)


def is_below(path: Path, *folders: str) -> bool:
    """Whether a file lies in one of the folders, or is one of them."""
    return any(path == Path(folder) or Path(folder) in path.parents for folder in folders)
