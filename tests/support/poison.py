"""Recognisers that say aloud what they do, and one that takes its worker with it."""

from __future__ import annotations

import ctypes
import os
import signal
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from worker.recognisers.base import ALL, Found, Options

if TYPE_CHECKING:
    from worker.recognisers.base import Pixels

HANGS_ALOUD = f"{__name__}:HangsAloud"
COUNTS_ALOUD = f"{__name__}:CountsAloud"
KILLS_ITS_WORKER = f"{__name__}:KillsItsWorker"
ODD = f"{__name__}:Odd"


def told_by(worker_pid: int) -> Path:
    """Give the file where a worker's recognisers leave their pids."""
    return Path(tempfile.gettempdir(), f"muster-recognisers-of-{worker_pid}")


def pids_told_by(worker_pid: int) -> list[int]:
    """Give the pids of recognisers that have begun to hang."""
    told = told_by(worker_pid)
    return [int(line) for line in told.read_text().split()] if told.exists() else []


class _Poison:
    labels: ClassVar[tuple[str, ...]] = ()
    prompts: ClassVar[tuple[str, ...]] = (ALL,)
    default_min_score: ClassVar[float] = 0.4

    def __init__(self, options: Options) -> None:
        del options

    def load(self) -> None:
        """Nothing to load."""


class HangsAloud(_Poison):
    """Leaves its pid where the test finds it, then never returns."""

    name: ClassVar[str] = "hangs-aloud"

    def recognise(self, pixels: Pixels, prompt: str, min_score: float) -> list[Found]:
        del pixels, prompt, min_score
        with told_by(os.getppid()).open("a") as told:
            told.write(f"{os.getpid()}\n")
        ctypes.PyDLL(None).sleep(3600)
        return []


class KillsItsWorker(_Poison):
    """Kills the worker, as a picture would that makes it run out of memory."""

    name: ClassVar[str] = "kills-its-worker"

    def recognise(self, pixels: Pixels, prompt: str, min_score: float) -> list[Found]:
        del pixels, prompt, min_score
        os.kill(os.getppid(), signal.SIGKILL)
        time.sleep(60)
        return []


class CountsAloud(_Poison):
    """Leaves its pid where the test finds it, and finds one cow."""

    name: ClassVar[str] = "counts-aloud"

    def recognise(self, pixels: Pixels, prompt: str, min_score: float) -> list[Found]:
        del prompt, min_score
        with told_by(os.getppid()).open("a") as told:
            told.write(f"{os.getpid()}\n")
        height, width = pixels.shape[:2]
        return [Found(label="COW", score=0.9, box=(0.0, 0.0, float(width), float(height)))]


class Odd(_Poison):
    """Finds an object whose label has a character that PostgreSQL does not store."""

    name: ClassVar[str] = "odd"

    def recognise(self, pixels: Pixels, prompt: str, min_score: float) -> list[Found]:
        del prompt, min_score
        height, width = pixels.shape[:2]
        return [Found(label="C\0W", score=0.9, box=(0.0, 0.0, float(width), float(height)))]
