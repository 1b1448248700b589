"""Reading README.md and docs/."""

from __future__ import annotations

import re
from pathlib import Path

_CODE_BLOCK = re.compile(r"^ *```.*?^ *```$", re.DOTALL | re.MULTILINE)


def prose(path: Path) -> str:
    """Give a document without its blocks of code."""
    return _CODE_BLOCK.sub("", path.read_text(encoding="utf-8"))


def headings(path: Path) -> set[str]:
    """Give the anchors of a document's headings, as they are made from their words."""
    titles = re.findall(r"^#+ (.+)$", prose(path), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def blocks(path: Path, language: str) -> list[str]:
    """Give the blocks of code in a language."""
    pattern = rf"^```{language}\n(.*?)^```$"
    return re.findall(pattern, path.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
