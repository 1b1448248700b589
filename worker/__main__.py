"""Start a worker: `python -m worker`, or `muster worker`."""

from __future__ import annotations

import asyncio
import signal
import sys

import uvloop

from core.errors import SettingsError
from core.garbage import forget_the_start
from core.logs import configure_logs
from core.settings import Settings, load_settings
from worker.factory import open_worker


async def serve(settings: Settings) -> None:
    """Run one worker until SIGTERM or SIGINT; a second signal hurries."""
    loop = asyncio.get_running_loop()
    async with asyncio.TaskGroup() as group, open_worker(settings, group) as runner:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, runner.stop)
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
