"""When a flow is left alone for a while: its failures in a row, counted over all processes."""

from __future__ import annotations

from dataclasses import dataclass

from core.queue.queue import TaskQueue

MAX_HOLD_SECONDS = 600.0
_FORGET_SECONDS = 86_400.0
"""A flow that nobody tried for a day is judged anew."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What one outcome changed; nothing in most cases."""

    hold_seconds: float | None = None
    """The flow is held from now on, for so long."""
    freed: bool = False
    """It had been held, and is not any more."""


class Breaker:
    """Holds the flows of one queue that fail again and again.

    A held flow's entries are parked; when the hold is over one of them passes as the probe. What it
    comes to frees the flow, or holds it twice as long as before, `MAX_HOLD_SECONDS` at most.
    """

    def __init__(self, queue: TaskQueue, *, failures: int, first_hold_seconds: float) -> None:
        self._queue, self._failures, self._first_hold_seconds = queue, failures, first_hold_seconds

    async def succeeded(self, flow: str) -> Verdict:
        """Forget the failures and free the flow; raises QueueUnavailable."""
        return await self._judge(flow, succeeded=True)

    async def failed(self, flow: str) -> Verdict:
        """Count a failure; raises QueueUnavailable."""
        return await self._judge(flow, succeeded=False)

    async def _judge(self, flow: str, *, succeeded: bool) -> Verdict:
        hold_ms, freed = await self._queue.judge(
            flow,
            succeeded=succeeded,
            failures=self._failures,
            first_hold_ms=int(self._first_hold_seconds * 1000),
            longest_hold_ms=int(MAX_HOLD_SECONDS * 1000),
            forget_ms=int(_FORGET_SECONDS * 1000),
        )
        return Verdict(hold_seconds=hold_ms / 1000 if hold_ms else None, freed=freed)
