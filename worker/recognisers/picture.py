"""The recogniser `picture`: finds nothing and needs no model file; tells size and that it decodes."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from worker.recognisers.base import ALL, Found, Options

if TYPE_CHECKING:
    from worker.recognisers.base import Pixels


class PictureRecogniser:
    """Knows the one prompt ALL and counts nothing."""

    name: ClassVar[str] = "picture"
    labels: ClassVar[tuple[str, ...]] = ()
    prompts: ClassVar[tuple[str, ...]] = (ALL,)
    default_min_score: ClassVar[float] = 0.4

    def __init__(self, options: Options) -> None:
        del options

    def load(self) -> None:
        """Load nothing."""

    def recognise(self, pixels: Pixels, prompt: str, min_score: float) -> list[Found]:
        """Find nothing."""
        del pixels, prompt, min_score
        return []
