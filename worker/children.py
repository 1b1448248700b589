"""Child processes: how one is started, spoken with and ended. Who replaces it: worker/places.py."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field

from core.catalogue import ModelSpec
from core.errors import RecogniserCrashed
from worker.jobs import PREFIX, ChildSetup, Header, PictureJob, job_header, lengths, pack

ANSWERS_NONSENSE = (ConnectionError, asyncio.IncompleteReadError, ValueError, KeyError, TypeError)
"""What comes of a child that died, or whose answer makes no sense."""

_STREAM_BYTES = 1_048_576
_COLLECT_SECONDS = 5.0
_ALLOCATOR = {
    # Pictures of a few megabytes stay on the heap and are not given back after each one (11 -> 6 ms).
    "MALLOC_MMAP_THRESHOLD_": "33554432",
    "MALLOC_TRIM_THRESHOLD_": "268435456",
    "MALLOC_ARENA_MAX": "2",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ComputeSettings:
    """How many children there are and what each may use."""

    children: int = 2
    threads_per_child: int = 1
    memory_bytes: int = 2_000_000_000
    recycle_after: int = 1000
    keep_spare: bool = True
    """Keep one more child ready, so that one that was killed is replaced without waiting for a start."""
    open_files: int = 64
    start_timeout_seconds: float = 30.0
    """Time to start a child and load the models wanted from the start."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """What a plug-in needs in its environment; children inherit nothing else, least of all secrets."""


class Child:
    """One started process and its pipes."""

    def __init__(self, process: asyncio.subprocess.Process, settings: ComputeSettings) -> None:
        self._process = process
        self._settings = settings
        self.jobs = 0
        self.failed: dict[str, str] = {}
        """Models that could not be loaded at the start, and why."""

    @property
    def is_alive(self) -> bool:
        """Whether the process has not been seen to end."""
        return self._process.returncode is None

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    async def introduce(self, models: tuple[ModelSpec, ...]) -> None:
        """Tell a new process its limits and wait until it has loaded its models."""
        setup = ChildSetup(
            parent_pid=os.getpid(),
            memory_bytes=self._settings.memory_bytes,
            open_files=self._settings.open_files,
            threads=self._settings.threads_per_child,
            models=models,
        )
        await self._send(asdict(setup))
        header, _ = await self._receive()
        self.failed = {str(name): str(reason) for name, reason in header["failed"].items()}

    async def ask(self, job: PictureJob, timeout_seconds: float) -> tuple[Header, bytes]:
        """Send a job and wait for the answer; the caller keeps the time limit."""
        self.jobs += 1
        await self._send(job_header(job, timeout_seconds * self._settings.threads_per_child), job.content)
        return await self._receive()

    def kill(self) -> None:
        """End the process and whatever it started, at once."""
        if self.is_alive:
            # It leads a session of its own, so its group is itself and its descendants.
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)

    async def gone(self) -> None:
        """Wait until the killed process was collected; one that the kernel cannot end is left behind."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_COLLECT_SECONDS):
                await self._process.wait()

    async def _send(self, header: Header, blob: bytes = b"") -> None:
        pipe = self._process.stdin
        if pipe is None:
            raise BrokenPipeError
        pipe.writelines((pack(header, blob), blob))
        await pipe.drain()

    async def _receive(self) -> tuple[Header, bytes]:
        pipe = self._process.stdout
        if pipe is None:
            raise BrokenPipeError
        header_bytes, blob_bytes = lengths(await pipe.readexactly(PREFIX.size))
        header = json.loads(await pipe.readexactly(header_bytes))
        if not isinstance(header, dict):
            raise TypeError("the header is not an object")
        return header, await pipe.readexactly(blob_bytes)


async def start_child(settings: ComputeSettings, models: tuple[ModelSpec, ...]) -> Child:
    """Start a process and wait until it is ready.

    Raises:
        RecogniserCrashed: It could not be started, died on the way or took too long.
    """
    child: Child | None = None
    started = False
    try:
        async with asyncio.timeout(settings.start_timeout_seconds):
            child = Child(await _spawn(settings), settings)
            await child.introduce(models)
        started = True
    except (TimeoutError, OSError, *ANSWERS_NONSENSE) as error:
        raise RecogniserCrashed("The recogniser's process could not be started.") from error
    finally:
        if child is not None and not started:
            child.kill()
            await child.gone()
    return child


async def _spawn(settings: ComputeSettings) -> asyncio.subprocess.Process:
    threads = str(settings.threads_per_child)
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-m", "worker.child"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=_STREAM_BYTES,
        start_new_session=True,
        env={
            "PYTHONPATH": os.pathsep.join(folder for folder in sys.path if folder),
            "OMP_NUM_THREADS": threads,
            "OPENBLAS_NUM_THREADS": threads,
            **_ALLOCATOR,
            **settings.environment,
        },
    )
