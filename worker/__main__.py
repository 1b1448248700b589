"""Start a worker: `python -m worker`, or `muster worker`."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Callable

import uvloop

from core.errors import SettingsError
from core.garbage import forget_the_start
from core.logs import configure_logs
from core.settings import Settings, load_settings
from worker.factory import open_worker


class _Told:
    """Hears that the worker is to end, also while it is still being put together."""

    def __init__(self) -> None:
        self._times = 0
        self._stop: Callable[[], None] | None = None

    def __call__(self) -> None:
        """Be told once more."""
        self._times += 1
        if self._stop is not None:
            self._stop()

    def pass_on_to(self, stop: Callable[[], None]) -> None:
        """Call `stop` for every time that has been and will be."""
        self._stop = stop
        for _ in range(self._times):
            stop()


async def serve(settings: Settings) -> None:
    """Run one worker until SIGTERM or SIGINT; a second signal hurries."""
    loop, told = asyncio.get_running_loop(), _Told()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, told)
    async with asyncio.TaskGroup() as group, open_worker(settings, group) as runner:
        told.pass_on_to(runner.stop)
        forget_the_start()
        await runner.run(group)


def main(settings: Settings | None = None) -> int:
    """Run a worker; answers the exit status."""
    status = 0
    try:
        chosen = settings or load_settings()
        configure_logs(chosen.log_level)
        uvloop.run(serve(chosen))
    except* SettingsError as group:  # the worker's task group wraps what is raised inside
        for message in _messages(group):
            sys.stderr.write(f"muster worker: {message}\n")
        status = 2
    return status


def _messages(group: BaseExceptionGroup[SettingsError]) -> list[str]:
    found: list[str] = []
    for error in group.exceptions:
        found += _messages(error) if isinstance(error, BaseExceptionGroup) else [error.message]
    return found


if __name__ == "__main__":
    sys.exit(main())
