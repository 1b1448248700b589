"""`make demo`, as the README promises it."""

from __future__ import annotations

import subprocess
import sys

from tests.support.muster import ROOT, environment


def test_the_demo_counts_three_cows_and_one_sheep_verifies_the_callback_and_ends_by_itself() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "demo"],
        cwd=ROOT,
        env=environment(COLUMNS="200"),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    for expected in (
        "3 cows and 1 sheep",
        "position 1 in the queue",
        "signature verified",
        "All as expected",
    ):
        assert expected in done.stdout
    for name in ("cows.jpg", "sheep.jpg"):
        assert (ROOT / "demo" / "out" / name).read_bytes().startswith(b"\xff\xd8\xff")
