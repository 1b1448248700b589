"""The timetable of duties: reconcile, prune and the heartbeat in Redis."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

import structlog
from apscheduler.schedulers.asyncio import AsyncIOScheduler
from apscheduler.triggers.interval import IntervalTrigger

from core.errors import Unavailable
from worker.loop import JITTER

log = structlog.get_logger()

Duty = Callable[[], Awaitable[object]]


class Scheduler:
    """Runs duties at intervals; one that is still at work is not started a second time."""

    def __init__(self) -> None:
        self._scheduler = AsyncIOScheduler(
            timezone="UTC", job_defaults={"coalesce": True, "max_instances": 1, "misfire_grace_time": None}
        )
        self._running: set[asyncio.Task[object]] = set()

    def every(self, seconds: float, name: str, duty: Duty) -> None:
        """Add a duty; jitter keeps workers from marching in step."""
        least, spread = seconds * (1 - JITTER), seconds * 2 * JITTER  # APScheduler only ever adds
        trigger = IntervalTrigger(seconds=least, jitter=spread, timezone="UTC")
        self._scheduler.add_job(self._run, trigger, args=(name, duty), id=name)

    def hurry(self, name: str) -> None:
        """Run a duty now rather than at its time, unless it is at work already."""
        if self._scheduler.running and not any(task.get_name() == name for task in self._running):
            self._scheduler.modify_job(name, next_run_time=datetime.now(UTC))

    def start(self) -> None:
        """Begin."""
        self._scheduler.start()

    async def stop(self, limit_seconds: float) -> None:
        """Start no duty any more, and let those that are at work end."""
        self._scheduler.pause()
        if self._running:
            await asyncio.wait(self._running, timeout=limit_seconds)
        self._scheduler.shutdown(wait=False)

    async def _run(self, name: str, duty: Duty) -> None:
        """Run a duty; one that fails is logged and comes again at its time."""
        mine = asyncio.current_task()
        if mine is not None:
            mine.set_name(name)
            self._running.add(mine)
            mine.add_done_callback(self._running.discard)
        try:
            await duty()
        except Unavailable as error:
            log.warning("duty.interrupted", duty=name, code=error.code)
        except Exception:
            log.exception("duty.failed", duty=name)
