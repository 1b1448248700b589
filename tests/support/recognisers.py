"""Recognisers that misbehave on purpose, one way each."""

from __future__ import annotations

import ctypes
import json
import os
import socket
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from worker.recognisers.base import ALL, Found, Options

if TYPE_CHECKING:
    from worker.recognisers.base import Pixels

HERE = "tests.support.recognisers"


class _Misbehaving:
    labels: ClassVar[tuple[str, ...]] = ("COW",)
    prompts: ClassVar[tuple[str, ...]] = (ALL, "COW")
    default_min_score: ClassVar[float] = 0.4

    def __init__(self, options: Options) -> None:
        self._options = options

    def load(self) -> None:
        """Nothing to load."""


def _tell(options: Options, word: str) -> None:
    """Connect to the test that waits for this recogniser to be at work, and say its pid and a word."""
    address = str(options.get("tell", ""))
    if address:
        with socket.create_connection(("127.0.0.1", int(address))) as line:
            line.sendall(json.dumps([os.getpid(), word]).encode())


class Hang(_Misbehaving):
    """Never returns, and holds the interpreter lock: no signal is looked at."""

    name: ClassVar[str] = "hang"

    def recognise(self, pixels: Pixels, prompt: str, min_score: float) -> list[Found]:
        del pixels, prompt, min_score
        _tell(self._options, "hanging")
        ctypes.PyDLL(None).sleep(3600)
        return []


class Segfault(_Misbehaving):
    """Reads address 0."""

    name: ClassVar[str] = "segfault"

    def recognise(self, pixels: Pixels, prompt: str, min_score: float) -> list[Found]:
        del pixels, prompt, min_score
        ctypes.string_at(0)
        return []


class Exit(_Misbehaving):
    """Leaves without a word."""

    name: ClassVar[str] = "exit"

    def recognise(self, pixels: Pixels, prompt: str, min_score: float) -> list[Found]:
        del pixels, prompt, min_score
        os._exit(0)


class MemoryHog(_Misbehaving):
    """Wants more memory than a child may have."""

    name: ClassVar[str] = "memory-hog"

    def recognise(self, pixels: Pixels, prompt: str, min_score: float) -> list[Found]:
        del pixels, prompt, min_score
        hoard = [np.ones(50_000_000, dtype=np.uint8) for _ in range(1000)]
        return [Found(label="COW", score=1.0, box=(0, 0, float(len(hoard)), 1))]


class Raises(_Misbehaving):
    """Raises an error of its own."""

    name: ClassVar[str] = "raises"

    def recognise(self, pixels: Pixels, prompt: str, min_score: float) -> list[Found]:
        raise ZeroDivisionError(f"secret {pixels.shape} {prompt} {min_score}")


class Slow(_Misbehaving):
    """Takes as long as its option `seconds` says."""

    name: ClassVar[str] = "slow"

    def recognise(self, pixels: Pixels, prompt: str, min_score: float) -> list[Found]:
        del pixels, prompt, min_score
        _tell(self._options, "slow")
        time.sleep(float(self._options.get("seconds", 0.2)))
        return []


class Waits(_Misbehaving):
    """Returns when the test lets it: when the connection to port `tell` is closed."""

    name: ClassVar[str] = "waits"

    def recognise(self, pixels: Pixels, prompt: str, min_score: float) -> list[Found]:
        del pixels, prompt, min_score
        with socket.create_connection(("127.0.0.1", int(self._options["tell"]))) as line:
            line.sendall(json.dumps([os.getpid(), "waits"]).encode())
            line.shutdown(socket.SHUT_WR)
            line.recv(1)
        return []


class Flaky(_Misbehaving):
    """Dies until it has been tried as often as its option `deaths` says; counts in the file `tally`."""

    name: ClassVar[str] = "flaky"

    def recognise(self, pixels: Pixels, prompt: str, min_score: float) -> list[Found]:
        del prompt, min_score
        tally = Path(str(self._options["tally"]))
        deaths = len(tally.read_text()) if tally.exists() else 0
        if deaths < int(self._options["deaths"]):
            tally.write_text("x" * (deaths + 1))
            os._exit(1)
        height, width = pixels.shape[:2]
        return [Found(label="COW", score=0.9, box=(0, 0, width, height))]


class Witness(_Misbehaving):
    """Prints, reads its standard input, and reports what surrounds it as the score of its objects."""

    name: ClassVar[str] = "witness"
    labels: ClassVar[tuple[str, ...]] = ("COW", "PID", "SECRETS", "NOISE")

    def recognise(self, pixels: Pixels, prompt: str, min_score: float) -> list[Found]:
        del pixels, prompt, min_score
        os.write(1, b"a plug-in that prints to standard output\n")
        noise = len(sys.stdin.read())
        secrets = sum(name.startswith("MUSTER_") or "SECRET" in name for name in os.environ)
        facts = {"PID": os.getpid(), "SECRETS": secrets + 1, "NOISE": noise + 1}
        return [Found(label=label, score=float(fact), box=(0, 0, 1, 1)) for label, fact in facts.items()]


class Rectangle(_Misbehaving):
    """Well-behaved: finds what its option `found` lists, and much that must be filtered."""

    name: ClassVar[str] = "rectangle"
    labels: ClassVar[tuple[str, ...]] = ("COW", "SHEEP")
    prompts: ClassVar[tuple[str, ...]] = (ALL, "COW", "SHEEP")

    def recognise(self, pixels: Pixels, prompt: str, min_score: float) -> list[Found]:
        del pixels, prompt, min_score
        listed = json.loads(str(self._options["found"]))
        return [Found(label=label, score=score, box=tuple(box)) for label, score, box in listed]


class FailsToLoad(_Misbehaving):
    """Has no weights."""

    name: ClassVar[str] = "fails-to-load"

    def load(self) -> None:
        raise FileNotFoundError("no weights here")

    def recognise(self, pixels: Pixels, prompt: str, min_score: float) -> list[Found]:
        del pixels, prompt, min_score
        return []


class NoPrompts(_Misbehaving):
    """Breaks the protocol."""

    name: ClassVar[str] = "no-prompts"
    prompts: ClassVar[tuple[str, ...]] = ()

    def recognise(self, pixels: Pixels, prompt: str, min_score: float) -> list[Found]:
        del pixels, prompt, min_score
        return []


class LowerCase(NoPrompts):
    """Breaks the protocol."""

    name: ClassVar[str] = "lower-case"
    prompts: ClassVar[tuple[str, ...]] = ("cow",)


class Nameless(NoPrompts):
    """Breaks the protocol."""

    name: ClassVar[str] = ""


class NoRecognise(_Misbehaving):
    """Breaks the protocol."""

    name: ClassVar[str] = "no-recognise"


class Refuses(NoPrompts):
    """Cannot be built."""

    name: ClassVar[str] = "refuses"

    def __init__(self, options: Options) -> None:
        super().__init__(options)
        raise ValueError("option `weights` is missing")


class Impostor(Hang):
    """Takes a name that is taken."""

    name: ClassVar[str] = "picture"
