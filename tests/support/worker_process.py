"""Workers as they are run: processes of their own, to be drained, killed and frozen."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from core.settings import Settings
from tests.support.poison import told_by
from tests.support.programs import ends_with_parent
from tests.support.sources import ROOT
from tests.support.worker_bench import PATIENCE_SECONDS, until


def environment_of(settings: Settings) -> dict[str, str]:
    """Write the settings that differ from the defaults as environment variables."""
    variables = {}
    for name, value in settings.model_dump(mode="json", exclude_defaults=True).items():
        fields = value.items() if isinstance(value, dict) else [("", value)]
        for field, one in fields:
            variables["_".join(filter(None, ("MUSTER", name, field))).upper()] = _written(field, one)
    for name in ("secret_key", "embedded_webhook_secret"):
        variables[f"MUSTER_{name.upper()}"] = getattr(settings, name).get_secret_value()
    return variables


def _written(field: str, value: Any) -> str:
    if field in ("allow", "ports", "recognisers"):
        return ",".join(value)
    return value if isinstance(value, str) else json.dumps(value)


class WorkerProcess:
    """A worker as it is run: `python -m worker`, with its log."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.lines: list[dict[str, Any]] = []
        self.text = ""

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def children(self) -> list[int]:
        """The process ids of its children."""
        with suppress(FileNotFoundError, ProcessLookupError):
            threads = list(Path(f"/proc/{self.pid}/task").iterdir())
            return [int(pid) for thread in threads for pid in (thread / "children").read_text().split()]
        return []

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self._process.send_signal(number)

    async def ended(self, *, limit_seconds: float = PATIENCE_SECONDS) -> int:
        """Wait for its end; gives the exit status."""
        async with asyncio.timeout(limit_seconds):
            return await self._process.wait()

    async def logged(
        self, event: str, *, after: int = 0, limit_seconds: float = PATIENCE_SECONDS
    ) -> dict[str, Any]:
        """Wait for a line of its log, the first after so many lines."""

        async def found() -> list[dict[str, Any]]:
            return [line for line in self.lines[after:] if line.get("event") == event]

        return (await until(found, bool, limit_seconds=limit_seconds))[0]

    async def said(self, lines: int) -> None:
        """Wait until it has written so many lines."""

        async def count() -> int:
            return self.text.count("\n")

        await until(count, lambda found: found >= lines)

    async def read(self) -> None:
        """Read its log until it ends."""
        assert self._process.stderr is not None
        async for line in self._process.stderr:
            self.text += line.decode()
            with suppress(ValueError):
                self.lines.append(json.loads(line))


@asynccontextmanager
async def worker_process(settings: Settings, **environment: str) -> AsyncIterator[WorkerProcess]:
    """Start a worker of its own and wait until it has started; killed at the end if it still runs."""
    async with unready_worker_process(settings, **environment) as worker:
        await worker.logged("worker.started")
        yield worker


@asynccontextmanager
async def unready_worker_process(settings: Settings, **environment: str) -> AsyncIterator[WorkerProcess]:
    """Start a worker of its own."""
    async with started_process(settings, "worker", **environment) as worker:
        yield worker


@asynccontextmanager
async def started_process(
    settings: Settings, *module: str, **environment: str
) -> AsyncIterator[WorkerProcess]:
    """Start a module of ours as a process under these settings."""
    process = await asyncio.create_subprocess_exec(
        *(*ends_with_parent(), sys.executable, "-m", *module),
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment_of(settings), **environment},
        stderr=asyncio.subprocess.PIPE,
        limit=1 << 20,
    )
    worker = WorkerProcess(process)
    async with asyncio.TaskGroup() as group:
        group.create_task(worker.read())
        try:
            yield worker
        finally:
            if process.returncode is None:
                process.kill()
            await process.wait()
            told_by(process.pid).unlink(missing_ok=True)


def is_gone(pid: int) -> bool:
    """Whether a process has ended; one that waits to be collected has."""
    with suppress(FileNotFoundError, ProcessLookupError):
        return state_of(pid) == "Z"
    return True


def state_of(pid: int) -> str:
    """The letter of a process's state: T is frozen, Z waits to be collected."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
