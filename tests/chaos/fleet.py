"""Processes that are killed and frozen, and started again like a supervisor does."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.support.programs import ends_with_parent
from tests.support.sources import ROOT

_PAUSE_SECONDS = 0.2
_STOP_SECONDS = 40.0


class Kept:
    """One process, started again whenever it ends; its log goes on."""

    def __init__(
        self, name: str, arguments: Sequence[str], environment: Mapping[str, str], log: Path
    ) -> None:
        self.name = name
        self.exits: Counter[int] = Counter()
        self._command = (*ends_with_parent(), sys.executable, *arguments)
        self._environment, self.log = dict(environment), log
        self._process: asyncio.subprocess.Process | None = None
        self._is_over = False

    async def keep(self) -> None:
        """Run it until `stop`."""
        while not self._is_over:
            with self.log.open("ab") as log:
                self._process = await asyncio.create_subprocess_exec(
                    *self._command,
                    cwd=ROOT,
                    env=self._environment,
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                )
            self.exits[await self._process.wait()] += 1
            await asyncio.sleep(_PAUSE_SECONDS)

    def send(self, number: signal.Signals) -> None:
        """Send it a signal, if it runs."""
        if self._process is not None and self._process.returncode is None:
            with suppress(ProcessLookupError):
                self._process.send_signal(number)

    def stop(self) -> None:
        """Let it end well and not come back."""
        self._is_over = True
        self.send(signal.SIGCONT)
        self.send(signal.SIGTERM)

    @property
    def pid(self) -> int | None:
        """Its process id, while it runs."""
        return None if self._process is None else self._process.pid


class Fleet:
    """All processes of an installation; an async context manager that ends them."""

    def __init__(self, kept: Sequence[Kept]) -> None:
        self.kept = list(kept)
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        self._tasks = [asyncio.create_task(one.keep(), name=one.name) for one in self.kept]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def stop(self) -> None:
        """End all of them, by force when they do not go."""
        for one in self.kept:
            one.stop()
        _, late = await asyncio.wait(self._tasks, timeout=_STOP_SECONDS)
        for one in self.kept if late else ():
            one.send(signal.SIGKILL)
        await asyncio.gather(*self._tasks)


def errors_of(log: Path) -> Counter[str]:
    """Count what a log calls an error, by event; a traceback that no logger wrote counts too."""
    found: Counter[str] = Counter()
    for line in log.read_text(encoding="utf-8", errors="replace").splitlines():
        if line.startswith("Traceback"):
            found["traceback"] += 1
        elif '"level": "error"' in line or '"level": "critical"' in line:
            with suppress(ValueError):
                found[str(json.loads(line)["event"])] += 1
    return found
