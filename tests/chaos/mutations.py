"""`python -m tests.chaos.mutations`: takes one safeguard out at a time; a test must notice each time.

Every mutant is a copy of the project in a temporary folder with one edit. What is run there is run
first on an unchanged copy, where it must be green. Ends with a table, and with status 1 when a
safeguard was not missed by anybody.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import monotonic

from tests.chaos.safeguards import SAFEGUARDS, Edit, Safeguard
from tests.support.sources import ROOT

_LEFT_OUT = shutil.ignore_patterns(
    ".git", ".venv", ".hypothesis", ".*_cache", "__pycache__", "node_modules", "build"
)
_LIMIT_SECONDS = 400
_BROKEN = re.compile(r"^BROKEN: (.+)$|^(?:FAILED|ERROR) (\S+)", re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What came of one run."""

    is_red: bool
    said: str
    seconds: float


def main() -> int:
    """Try all safeguards, or those that are named."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.mutations", description=__doc__)
    parser.add_argument("names", nargs="*", help=", ".join(each.name for each in SAFEGUARDS))
    names = parser.parse_args().names
    chosen = [each for each in SAFEGUARDS if not names or each.name in names]
    sys.stdout.write("| safeguard taken out | run | unchanged | without it |\n|---|---|---|---|\n")
    results = [_try(safeguard) for safeguard in chosen]
    return 0 if chosen and all(results) else 1


def _try(safeguard: Safeguard) -> bool:
    """Run it with and without the safeguard; tells whether only the latter was red."""
    with _copy() as folder:
        whole = _run(safeguard, folder)
    with _copy() as folder:
        for edit in safeguard.edits:
            _apply(edit, folder)
        without = _run(safeguard, folder)
    row = (
        safeguard.what,
        f"`{' '.join(safeguard.command)}`",
        f"RED: {whole.said}" if whole.is_red else f"green, {whole.seconds:.0f} s",
        f"red: {without.said}" if without.is_red else f"GREEN, {without.seconds:.0f} s",
    )
    sys.stdout.write(f"| {' | '.join(row)} |\n")
    sys.stdout.flush()
    return without.is_red and not whole.is_red


@contextmanager
def _copy() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="muster-mutant-") as name:
        folder = Path(name, "muster")
        shutil.copytree(ROOT, folder, ignore=_LEFT_OUT)
        yield folder


def _apply(edit: Edit, folder: Path) -> None:
    path = folder / edit.path
    text = path.read_text(encoding="utf-8")
    if text.count(edit.before) != 1:
        raise SystemExit(f"{edit.path} has {text.count(edit.before)} times:\n{edit.before}")
    path.write_text(text.replace(edit.before, edit.after), encoding="utf-8")


def _run(safeguard: Safeguard, folder: Path) -> Verdict:
    begun = monotonic()
    done = subprocess.run(
        [sys.executable, "-m", *safeguard.command],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=_LIMIT_SECONDS,
        check=False,
    )
    said = ["".join(found) for found in _BROKEN.findall(done.stdout)]
    shown = "; ".join(said) if said else done.stdout[-300:].replace("\n", " ")
    return Verdict(is_red=done.returncode != 0, said=shown, seconds=monotonic() - begun)


if __name__ == "__main__":
    sys.exit(main())
