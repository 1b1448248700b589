"""Hearing what is published while something is done."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from core.queue.events import Event, Events

LIMIT_SECONDS = 10.0


async def heard_during(events: Events, step: Callable[[], Awaitable[object]]) -> Event:
    """Listen, do the step, and give the first event that it brings about."""
    async with events.subscribe() as subscription, asyncio.timeout(LIMIT_SECONDS):
        first = asyncio.ensure_future(anext(aiter(subscription)))
        await subscription.listening.wait()
        await step()
        return await first
