"""Keeps a program running: starts it, sees when it is ready, starts it again when it dies."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import structlog

from app.cli.exits import MISUSED
from core.errors import MusterError

log = structlog.get_logger()

_LEASH = str(Path(__file__).parent / "embedded" / "leash.py")
_PROBE_SECONDS = 0.1
_FIRST_BACKOFF_SECONDS = 0.25
_MAX_BACKOFF_SECONDS = 5.0
_TRIES_AT_START = 3
"""Deaths before it was ever ready after which a program is not tried again."""


class ProgramFailed(MusterError):
    """A part of the service does not start; what it said stands above."""

    code = "program_failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """What is to be kept running."""

    name: str
    command: tuple[str, ...]
    """`{ready}` in an argument becomes the descriptor of a pipe: one byte on it says that it is ready."""
    environment: Mapping[str, str] = field(repr=False)
    stop_seconds: float
    """Time to end by itself on SIGTERM."""
    is_ready: Callable[[int], Awaitable[bool]] | None = None
    """Asked with the process id when the program does not use the pipe."""
    passed: tuple[int, ...] = ()
    """Descriptors that it inherits."""


class Keeper:
    """Keeps one program running until it is told to stop.

    A program that was ready is started again at once; one that dies before is given a growing
    pause, and at the very first start it may fail so only a few times.
    """

    def __init__(self, program: Program) -> None:
        self.program = program
        self.ready = asyncio.Event()
        """Set while a process of the program is known to be ready."""
        self.pid: int | None = None
        self._stopping = asyncio.Event()
        self._told = asyncio.Event()
        """Set while the present process is being ended by us."""
        self._was_ever_ready = False

    def stop(self) -> None:
        """Have the program end by itself, or be killed when it takes too long."""
        self._stopping.set()
        self._told.set()

    async def renew(self) -> None:
        """Have the present process end by itself; returns when the next one is ready."""
        await self.ready.wait()
        self.ready.clear()
        self._told.set()
        await self.ready.wait()

    async def run(self) -> None:
        """Start the program and start it again; raises ProgramFailed when it never gets ready."""
        deaths = 0
        while not self._stopping.is_set():
            status = await self._live_once()
            if self._stopping.is_set():
                return
            if self._told.is_set():
                self._told.clear()
                continue
            deaths = 0 if self.ready.is_set() else deaths + 1
            self.ready.clear()
            is_hopeless = deaths >= _TRIES_AT_START or status == MISUSED
            if is_hopeless and not self._was_ever_ready:
                raise ProgramFailed(f"{self.program.name} does not start (exit status {status}).")
            pause_seconds = _pause_seconds(deaths)
            log.warning(
                "program.ended",
                program=self.program.name,
                pid=self.pid,
                status=status,
                restart_in_seconds=pause_seconds,
            )
            await self._stopped_within(pause_seconds)

    async def _live_once(self) -> int:
        """See one process from its start to its end; answers its exit status."""
        reading, writing = os.pipe()
        os.set_blocking(reading, False)
        try:
            started = await self._start(writing)
        finally:
            os.close(writing)
        self.pid = started.pid
        log.info("program.started", program=self.program.name, pid=started.pid)
        try:
            async with asyncio.TaskGroup() as group:
                watching = group.create_task(self._watch(reading, started.pid))
                stopping = group.create_task(self._stop_when_told(started))
                status = await started.wait()
                watching.cancel()
                stopping.cancel()
        finally:
            os.close(reading)
            _kill_group(started.pid)
        return status

    async def _start(self, ready: int) -> asyncio.subprocess.Process:
        arguments = [part.format(ready=ready) for part in self.program.command]
        return await asyncio.create_subprocess_exec(
            *(sys.executable, "-I", "-S", _LEASH, str(os.getpid()), *arguments),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=sys.stderr.fileno(),
            env=dict(self.program.environment),
            pass_fds=(ready, *self.program.passed),
            # A Ctrl-C in the terminal is for the supervisor, which then stops its programs in order.
            process_group=0,
        )

    async def _watch(self, reading: int, pid: int) -> None:
        """Note the moment at which the process is ready."""
        while True:
            if await self._says_ready(reading, pid):
                self._was_ever_ready = True
                self.ready.set()
                log.info("program.ready", program=self.program.name, pid=pid)
                return
            await asyncio.sleep(_PROBE_SECONDS)

    async def _says_ready(self, reading: int, pid: int) -> bool:
        if self.program.is_ready is not None:
            return await self.program.is_ready(pid)
        try:
            return os.read(reading, 1) != b""
        except BlockingIOError:
            return False

    async def _stop_when_told(self, started: asyncio.subprocess.Process) -> None:
        await self._told.wait()
        with suppress(ProcessLookupError):
            started.terminate()
        await asyncio.sleep(self.program.stop_seconds)
        log.warning("program.killed", program=self.program.name, pid=started.pid)
        with suppress(ProcessLookupError):
            started.kill()

    async def _stopped_within(self, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stopping.wait()


def _pause_seconds(deaths: int) -> float:
    """How long to wait after so many deaths in a row before getting ready."""
    if deaths == 0:
        return 0.0
    return float(min(_MAX_BACKOFF_SECONDS, _FIRST_BACKOFF_SECONDS * 2 ** (deaths - 1)))


def _kill_group(pid: int) -> None:
    """End whatever is left of a program: itself when it was not waited for, and what it started."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)
