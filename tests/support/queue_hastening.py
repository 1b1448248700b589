"""What hastening does to the model of a queue."""

from __future__ import annotations

from collections.abc import Iterable

from core.domain.routing import Member
from tests.support.queue_model import WAKE_TOKENS, QueueModel


def hasten(model: QueueModel, limits: Iterable[tuple[Member, int]]) -> list[bool]:
    """Bring forward what is due or leased for longer; whoever sleeps until it is due is woken."""
    flags, woken = [], 0
    for member, at_most_ms in limits:
        latest_ms = model.now_ms + at_most_ms
        later = [place for place in (model.delayed, model.leased) if place.get(member, 0) > latest_ms]
        for place in later:
            place[member] = latest_ms
            woken += place is model.delayed
        flags.append(bool(later))
    model.wake_tokens = min(WAKE_TOKENS, model.wake_tokens + woken)
    return flags
