"""What hastening does to the model of a queue."""

from __future__ import annotations

from collections.abc import Iterable

from core.queue.lease import Limit
from tests.support.queue_model import WAKE_TOKENS, QueueModel


def hasten(model: QueueModel, limits: Iterable[Limit]) -> list[bool]:
    """Bring forward what is due or leased for longer; whoever sleeps until it is due is woken."""
    flags, woken = [], 0
    for limit in limits:
        latest_ms = model.now_ms + limit.at_most_ms
        later = [place for place in (model.delayed, model.leased) if place.get(limit.member, 0) > latest_ms]
        for place in later:
            place[limit.member] = model.now_ms + limit.then_ms
            woken += place is model.delayed
        flags.append(bool(later))
    model.wake_tokens = min(WAKE_TOKENS, model.wake_tokens + woken)
    return flags
