"""Figures as people read them: min, median and max, of each side and of the ratio pair by pair."""

from __future__ import annotations

import os
import platform
import statistics
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

README = Path(__file__).with_name("README.md")


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Two programs run in turn; `ours` and `theirs` hold one figure per pair, larger is better."""

    name: str
    unit: str
    ours: Sequence[float]
    theirs: Sequence[float]
    reach: float

    @property
    def ratios(self) -> list[float]:
        """Ours by theirs, pair by pair."""
        return [a / b for a, b in zip(self.ours, self.theirs, strict=True)]

    def row(self) -> str:
        """One row of the results table."""
        median = statistics.median(self.ratios)
        verdict = "reached" if median >= self.reach else "**missed**"
        ours, theirs = spread(self.ours), spread(self.theirs)
        figures = f"{ours} {self.unit} | {theirs} {self.unit} | {spread(self.ratios, 2)}"
        return f"| {self.name} | {figures} | {self.reach:g} | {verdict} |"


def spread(figures: Sequence[float], digits: int = 1) -> str:
    """Median, with minimum and maximum behind it."""
    low, middle, high = min(figures), statistics.median(figures), max(figures)
    return f"{middle:.{digits}f} ({low:.{digits}f}..{high:.{digits}f})"


def where() -> str:
    """The machine and the commit that the figures belong to."""
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"],
        capture_output=True,
        text=True,
        check=False,
        cwd=README.parent,
    ).stdout.strip()
    return (
        f"{os.cpu_count()} cores, Python {platform.python_version()}, {platform.machine()}, commit {commit}"
    )


def write_section(title: str, lines: Sequence[str]) -> None:
    """Put a section into benchmarks/README.md in place of its earlier version."""
    text = README.read_text() if README.exists() else "# Benchmarks\n"
    head, _, tail = text.partition(f"\n## {title}\n")
    following = tail.find("\n## ")
    rest = tail[following:] if following >= 0 else ""
    README.write_text(head.rstrip() + f"\n\n## {title}\n\n" + "\n".join(lines) + "\n" + rest)
