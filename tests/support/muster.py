"""The `muster` command as a user runs it: real processes, watched from outside."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self, TypeVar

from muster_client import Client, NewCamera, NewTask, Task

ROOT = Path(__file__).resolve().parents[2]
COWS = ROOT / "demo" / "photos" / "cows.webp"
SHEEP = ROOT / "demo" / "photos" / "sheep.webp"
_COMMAND = (sys.executable, "-P", "-m", "app.cli")
_START_LIMIT_SECONDS = 90
_STOP_LIMIT_SECONDS = 60
_LOOK_SECONDS = 0.02

T = TypeVar("T")


def environment(**variables: str) -> dict[str, str]:
    """This environment without settings of Muster, then the given ones."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("MUSTER_")}
    return kept | variables


def run(
    *arguments: str | Path,
    cwd: Path | None = None,
    settings: Mapping[str, str] | None = None,
    limit_seconds: float = 60,
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    return subprocess.run(
        [*_COMMAND, *map(str, arguments)],
        cwd=cwd,
        env=environment(COLUMNS="200", **(settings or {})),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=limit_seconds,
        check=False,
    )


class Running:
    """A command that goes on, with the events it logs and what it prints."""

    def __init__(self, *arguments: str | Path, cwd: Path, settings: Mapping[str, str] | None = None) -> None:
        self.events: list[dict[str, Any]] = []
        self.printed: list[str] = []
        self.said: list[str] = []
        self._news = threading.Condition()
        self._process = subprocess.Popen(
            [*_COMMAND, *map(str, arguments)],
            cwd=cwd,
            env=environment(PYTHONUNBUFFERED="1", **(settings or {})),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            process_group=0,
        )
        streams = ((self._process.stdout, self.printed), (self._process.stderr, self.said))
        self._readers = [threading.Thread(target=self._read, args=each, daemon=True) for each in streams]
        for reader in self._readers:
            reader.start()

    def _read(self, stream: Any, lines: list[str]) -> None:
        for line in stream:
            with self._news:
                lines.append(line.rstrip("\n"))
                if line.startswith("{"):
                    self.events.append({"seen_at": time.monotonic(), **json.loads(line)})
                self._news.notify_all()
        with self._news:
            self._news.notify_all()

    @property
    def pid(self) -> int:
        return self._process.pid

    def wait_for(self, look: Callable[[], T | None], what: str, *, limit_seconds: float) -> T:
        """Look after every line that comes until something is found."""
        ends_at = time.monotonic() + limit_seconds
        with self._news:
            while (found := look()) is None:
                left = ends_at - time.monotonic()
                assert left > 0, f"{what} did not come within {limit_seconds} s:\n{self.log()}"
                assert self._process.poll() is None, f"it ended before {what}:\n{self.log()}"
                self._news.wait(min(left, 0.5))
        return found

    def wait_for_event(
        self, event: str, *, after: int = 0, limit_seconds: float = 20, **fields: Any
    ) -> dict[str, Any]:
        """The first event of this name with these fields, among those from number `after` on."""

        def look() -> dict[str, Any] | None:
            return next(
                (
                    seen
                    for seen in self.events[after:]
                    if seen.get("event") == event and all(seen.get(k) == v for k, v in fields.items())
                ),
                None,
            )

        return self.wait_for(look, f"{event} {fields}", limit_seconds=limit_seconds)

    def send(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def wait(self, limit_seconds: float = _STOP_LIMIT_SECONDS) -> int:
        """Wait for its end; answers the exit status."""
        try:
            status = self._process.wait(limit_seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"it did not end within {limit_seconds} s:\n{self.log()}") from None
        for reader in self._readers:
            reader.join(10)
        return status

    def log(self) -> str:
        return "\n".join([*self.printed, *self.said[-60:]])

    def end(self) -> None:
        """End it whatever state it is in, and close its pipes."""
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait(_STOP_LIMIT_SECONDS)
        for reader in self._readers:
            reader.join(10)
        for stream in (self._process.stdout, self._process.stderr):
            if stream is not None:
                stream.close()


class Embedded(Running):
    """A `muster up` on a free port; use it as a context manager, which ends all of it."""

    def __init__(self, data_dir: Path, *arguments: str, settings: Mapping[str, str] | None = None) -> None:
        self.data_dir = data_dir
        self._ready: dict[str, Any] = {}
        options = arguments if "--port" in arguments else ("--port", "0", *arguments)
        super().__init__("up", "--data-dir", data_dir, *options, cwd=data_dir.parent, settings=settings)

    def __enter__(self) -> Self:
        try:
            self._ready = self.wait_for(self._read_ready, "ready.json", limit_seconds=_START_LIMIT_SECONDS)
        except BaseException:
            self.end()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def _read_ready(self) -> dict[str, Any] | None:
        path = self.data_dir / "ready.json"
        ready: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
        # One that was killed leaves its own behind.
        return ready if ready.get("pid") == self.pid else None

    @property
    def ready(self) -> dict[str, Any]:
        return self._ready

    @property
    def url(self) -> str:
        return str(self._ready["url"])

    @contextmanager
    def client(self) -> Iterator[Client]:
        with Client(self.url) as client:
            yield client

    def program(self, name: str) -> int:
        """The process id of a part, as last started."""
        return int(
            [e for e in self.events if e.get("event") == "program.started" and e.get("program") == name][-1][
                "pid"
            ]
        )

    def count(self, photo: Path = COWS, prompt: str = "COW", **fields: Any) -> Task:
        """Submit a photo and wait for its end."""
        with self.client() as client:
            task = client.submit(new_task(client.upload(photo).url, prompt, **fields))
            return client.wait(task.id, timeout_seconds=40)

    def stop(self) -> int:
        """Stop it as Ctrl-C does; answers the exit status."""
        self.send(signal.SIGINT)
        return self.wait()


def new_task(image_url: str, prompt: str = "COW", **fields: Any) -> NewTask:
    """A task with one picture."""
    cameras = [NewCamera(camera_id="meadow", image_url=image_url)]
    return NewTask(business_id="e2e", system_code="e2e", prompt=prompt, cameras=cameras, **fields)


def descendants(pid: int) -> set[int]:
    """Every process below one."""
    found: set[int] = set()
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            children = {int(each) for each in task.read_text().split()}
        except OSError:
            continue
        for child in children:
            found |= {child} | descendants(child)
    return found


def is_alive(pid: int) -> bool:
    """Whether a process is there and not merely waiting to be collected."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (OSError, IndexError):
        return False
    return state not in ("Z", "X")


def wait_until_gone(pids: set[int], *, limit_seconds: float) -> None:
    """Wait until none of these processes is left."""
    ends_at = time.monotonic() + limit_seconds
    while left := {pid for pid in pids if is_alive(pid)}:
        assert time.monotonic() < ends_at, f"still there after {limit_seconds} s: {left}"
        time.sleep(_LOOK_SECONDS)
