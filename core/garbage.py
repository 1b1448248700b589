"""Python's garbage collector, told what a long-lived process is made of."""

from __future__ import annotations

import gc

_ALLOCATIONS_PER_ROUND = 20_000


def forget_the_start() -> None:
    """Leave out of every later collection what a process has made until now; call it once it is ready.

    Modules, schemas and compiled statements stay for ever: walking them takes 100 ms, again and
    again, while requests and attempts wait.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_ALLOCATIONS_PER_ROUND, 20, 50)
