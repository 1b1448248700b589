"""Start a worker: `python -m worker`, or `muster worker`."""

from __future__ import annotations

import asyncio
import signal
import sys

import uvloop

from core.errors import SettingsError
from core.logs import configure_logs
from core.settings import Settings, load_settings
from worker.factory import open_worker


async def serve(settings: Settings) -> None:
    """Run one worker until SIGTERM or SIGINT; a second signal hurries."""
    loop = asyncio.get_running_loop()
    async with asyncio.TaskGroup() as group, open_worker(settings, group) as runner:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, runner.stop)
        await runner.run(group)


def main(settings: Settings | None = None) -> int:
    """Run a worker; answers the exit status."""
    try:
        chosen = settings or load_settings()
        configure_logs(chosen.log_level)
        uvloop.run(serve(chosen))
    except SettingsError as error:
        sys.stderr.write(f"muster worker: {error.message}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
