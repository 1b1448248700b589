"""The protocol of a recogniser: pixels and a prompt in, objects out.

A recogniser is a class named by an entry point of group `muster.recognisers` or by the setting
`MUSTER_RECOGNISE_RECOGNISERS` as `module:Class`. Its module and its constructor run in every
process, so they must be cheap and load nothing; `load` and `recognise` run in a child process
that may be killed at any time. Queues, databases and networks do not belong here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from core.catalogue import ALL, Options

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Pixels = NDArray[np.uint8]

__all__ = ["ALL", "Found", "Options", "Recogniser"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """One object: upper-case label, score 0..1, box `(x1, y1, x2, y2)` in pixels of the array given."""

    label: str
    score: float
    box: tuple[float, float, float, float]


class Recogniser(Protocol):
    """Finds objects in pictures.

    Built with one argument, its options from the settings (a mapping; `threads` is always set in a
    child). An optional attribute `draft_side_pixels` allows a large JPEG to be decoded at a
    half, a quarter or an eighth of its size as long as both sides keep that many pixels.
    """

    @property
    def name(self) -> str:
        """The model's name: a class attribute of lower-case letters, digits, `.`, `_` and `-`."""

    @property
    def labels(self) -> tuple[str, ...]:
        """Every label it may find, upper-case; empty for one that finds nothing."""

    @property
    def prompts(self) -> tuple[str, ...]:
        """What it may be asked for, upper-case; `ALL` means every label."""

    @property
    def default_min_score(self) -> float:
        """The least score that counts when the request names none, 0.05..0.99."""

    def load(self) -> None:
        """Load the weights; called once in each child, before the first picture."""

    def recognise(self, pixels: Pixels, prompt: str, min_score: float) -> list[Found]:
        """Find objects.

        Args:
            pixels: uint8 array `(height, width, 3)`, RGB, 0..255, upright, read-only.
            prompt: One of `prompts`.
            min_score: The least score wanted; lower ones are dropped afterwards anyway.
        """
