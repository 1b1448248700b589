"""Waiting for something to claim."""

from __future__ import annotations

from core.queue.lease import Claim
from core.queue.queue import TaskQueue
from worker.identity import Identity
from worker.slots import Slots

IDLE_SECONDS = 5.0
_LEAST_SECONDS = 0.01


async def wait_for_more(queue: TaskQueue, claim: Claim, slots: Slots, identity: Identity) -> None:
    """Wait for a wake-up token, or until the claim's next entry is due."""
    due = claim.next_due_seconds
    seconds = IDLE_SECONDS if due is None or claim.paused else min(IDLE_SECONDS, due)
    if await queue.wait(max(_LEAST_SECONDS, seconds)) and not (slots.free and identity.is_fresh):
        await queue.wake()  # the token was for somebody who may claim
