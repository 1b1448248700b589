"""The whole service on one machine, from the first lock to the last process."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx

from app.cli.embedded.data_dir import DataDir, environment_of
from app.cli.embedded.programs import valkey_program, web_program, worker_program
from app.cli.listening import url_of
from app.cli.supervisor import Keeper, ProgramFailed
from core.settings import Settings, environment_with, load_settings
from core.store.migrate import upgrade

_START_SECONDS = 60.0
_PROBE_SECONDS = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How many processes there are."""

    web: int = 1
    workers: int = 1


class EmbeddedService:
    """Valkey, web processes and workers over one folder."""

    def __init__(self, data_dir: DataDir, listener: socket.socket, size: Size) -> None:
        """Check the settings; raises SettingsError."""
        self.url = url_of(listener)
        self._data_dir = data_dir
        overrides = data_dir.overrides(self.url)
        self._settings: Settings = load_settings(**overrides)
        environment = environment_with(environment_of(overrides))
        drain_seconds = self._settings.worker.drain_seconds
        self._valkey = Keeper(valkey_program(data_dir))
        self._web = [
            Keeper(web_program(f"web-{number}", environment, listener.fileno()))
            for number in range(1, size.web + 1)
        ]
        self._workers = [
            Keeper(worker_program(f"worker-{number}", environment, self.url, drain_seconds))
            for number in range(1, size.workers + 1)
        ]
        self._stop = asyncio.Event()

    async def run(self, on_ready: Callable[[], None]) -> None:
        """Start everything, call `on_ready`, and stop everything on SIGTERM or SIGINT.

        Raises:
            ProgramFailed: a part does not start.
        """
        self._listen_to_signals()
        try:
            async with asyncio.TaskGroup() as group:
                valkey = group.create_task(self._valkey.run())
                await self._migrate()
                others = [group.create_task(keeper.run()) for keeper in (*self._web, *self._workers)]
                if await self._wait_until_ready():
                    self._announce()
                    # In a thread: it asks the service, whose processes must be kept running meanwhile.
                    group.create_task(asyncio.to_thread(on_ready))
                    await self._stop.wait()
                await self._end(others, valkey)
        except BaseExceptionGroup as failures:
            # One part that does not start ends the rest; the first to fail is the one to name.
            failed = failures.subgroup(ProgramFailed)
            if failed is None:
                raise
            raise _first(failed) from None
        finally:
            self._data_dir.withdraw()

    async def _migrate(self) -> None:
        async with asyncio.timeout(_START_SECONDS):
            await upgrade(self._settings.database)

    async def _wait_until_ready(self) -> bool:
        """Wait for every part; False when told to stop meanwhile."""
        keepers: Sequence[Keeper] = (self._valkey, *self._web, *self._workers)
        stopping = asyncio.ensure_future(self._stop.wait())
        readiness = asyncio.ensure_future(self._all_ready(keepers))
        try:
            async with asyncio.timeout(_START_SECONDS):
                await asyncio.wait({stopping, readiness}, return_when=asyncio.FIRST_COMPLETED)
        except TimeoutError:
            waiting = ", ".join(keeper.program.name for keeper in keepers if not keeper.ready.is_set())
            named = waiting or "the web process"
            raise ProgramFailed(f"Not ready within {_START_SECONDS:.0f} s: {named}.") from None
        finally:
            stopping.cancel()
            readiness.cancel()
        return not self._stop.is_set()

    async def _all_ready(self, keepers: Sequence[Keeper]) -> None:
        for keeper in keepers:
            await keeper.ready.wait()
        async with httpx.AsyncClient(timeout=5.0, trust_env=False) as client:
            while True:
                if await _is_ready(client, f"{self.url}/readyz"):
                    return
                await asyncio.sleep(_PROBE_SECONDS)

    def _announce(self) -> None:
        self._data_dir.announce(
            {
                "url": self.url,
                "pid": os.getpid(),
                "webhook_secret": self._data_dir.webhook_secret,
                "redis_url": self._data_dir.redis_url,
            }
        )

    async def _end(self, others: Sequence[asyncio.Task[None]], valkey: asyncio.Task[None]) -> None:
        """Let web and workers finish what they do, then Valkey, which they need for it."""
        self._data_dir.withdraw()
        for keeper in (*self._web, *self._workers):
            keeper.stop()
        await asyncio.gather(*others)
        self._valkey.stop()
        await valkey

    def _listen_to_signals(self) -> None:
        """First signal: drain and end. Second: end at once."""
        loop = asyncio.get_running_loop()
        whole = asyncio.current_task()

        def told() -> None:
            if self._stop.is_set() and whole is not None:
                whole.cancel()
            self._stop.set()

        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            loop.add_signal_handler(number, told)


async def _is_ready(client: httpx.AsyncClient, url: str) -> bool:
    try:
        return (await client.get(url)).status_code == httpx.codes.OK
    except httpx.HTTPError:
        return False


def _first(group: BaseExceptionGroup[ProgramFailed]) -> ProgramFailed:
    inner = group.exceptions[0]
    return inner if isinstance(inner, ProgramFailed) else _first(inner)


def run_embedded(
    data_dir: DataDir, listener: socket.socket, size: Size, on_ready: Callable[[str], None]
) -> None:
    """Run an embedded service until it is told to stop; `on_ready` gets its address."""

    async def run() -> None:
        service = EmbeddedService(data_dir, listener, size)
        await service.run(lambda: on_ready(service.url))

    asyncio.run(run())


def demo_photo() -> Path | None:
    """The demo photo of a checkout, if this is one."""
    photo = Path(__file__).resolve().parents[3] / "demo" / "photos" / "cows.webp"
    return photo if photo.is_file() else None
