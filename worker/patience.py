"""Asking the database until it answers: what has been done must not be forgotten because it is away."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import TypeVar

from core.errors import DatabaseUnavailable, IntakeFull

T = TypeVar("T")

_FIRST_SECONDS, _CAP_SECONDS = 0.05, 2.0


async def patiently(ask: Callable[[], Awaitable[T]]) -> T:
    """Ask until there is an answer, later each time; what was sent or is about to be is held meanwhile."""
    delay_seconds = _FIRST_SECONDS
    while True:
        try:
            return await ask()
        except (DatabaseUnavailable, IntakeFull):
            await asyncio.sleep(random.uniform(0, delay_seconds))
            delay_seconds = min(_CAP_SECONDS, delay_seconds * 2)
