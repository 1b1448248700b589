"""How long to wait before the next try."""

from __future__ import annotations

import random

MAX_RETRY_SECONDS = 60.0


def task_retry_delay(failures: int, retry_after_seconds: float | None = None) -> float:
    """Seconds before the next run of a task that has failed `failures` times.

    Full jitter, uniform in 0..min(60, 2 * 2^failures); a server's Retry-After is kept to, up to 60 s.
    """
    if retry_after_seconds is not None:
        return min(MAX_RETRY_SECONDS, max(0.0, retry_after_seconds))
    return random.uniform(0.0, min(MAX_RETRY_SECONDS, 2.0 * 2.0 ** min(failures, 10)))


def delivery_delay(
    tries: int, schedule_seconds: tuple[float, ...], retry_after_seconds: float | None = None
) -> float | None:
    """Seconds before the next try of a delivery after `tries` of them; None when it is given up.

    Ten per cent jitter; a longer Retry-After is kept to, up to a day.
    """
    if tries > len(schedule_seconds):
        return None
    planned = schedule_seconds[tries - 1] * random.uniform(0.9, 1.1)
    return planned if retry_after_seconds is None else max(planned, min(retry_after_seconds, 86_400.0))
