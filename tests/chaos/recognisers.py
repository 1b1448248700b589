"""Recognisers of a chaos run: one that takes its time, and the one that kills its worker."""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING, ClassVar

from tests.support.poison import KILLS_ITS_WORKER, KillsItsWorker
from worker.recognisers.base import ALL, Found, Options

if TYPE_CHECKING:
    from worker.recognisers.base import Pixels

INSTALLED = (KILLS_ITS_WORKER, f"{__name__}:Dawdles")
POISON = KillsItsWorker.name


class Dawdles:
    """Takes long enough for its worker to die or to freeze meanwhile."""

    name: ClassVar[str] = "dawdles"
    labels: ClassVar[tuple[str, ...]] = ()
    prompts: ClassVar[tuple[str, ...]] = (ALL,)
    default_min_score: ClassVar[float] = 0.4

    def __init__(self, options: Options) -> None:
        del options

    def load(self) -> None:
        """Nothing to load."""

    def recognise(self, pixels: Pixels, prompt: str, min_score: float) -> list[Found]:
        del pixels, prompt, min_score
        time.sleep(random.uniform(0.3, 3.0))
        return []
