"""A server process of our own: own folder, own socket, own port, nobody else's."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from abc import ABC, abstractmethod
from collections import deque
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.support.programs import Account, Programs, ends_with_parent

_START_LIMIT_SECONDS = 60
_STOP_LIMIT_SECONDS = 30


def free_port() -> int:
    """Ask the system for a port on 127.0.0.1 that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class PrivateServer(ABC):
    """A server process in a folder of its own; a context manager, started on entry."""

    ready_line: bytes
    stop_signal = signal.SIGTERM

    def __init__(self, programs: Programs, account: Account, *, durable: bool = True) -> None:
        self.programs = programs
        self.account = account
        self.durable = durable
        self.port = free_port()
        self.password = secrets.token_hex(16)
        self.folder = Path(tempfile.mkdtemp(prefix="muster-"))
        os.chown(self.folder, account.uid, account.gid)
        self._process: subprocess.Popen[bytes] | None = None
        self._lines: deque[bytes] = deque(maxlen=200)
        self._reader: threading.Thread | None = None

    @abstractmethod
    def set_up(self) -> None:
        """Fill the empty folder."""

    @abstractmethod
    def command(self) -> list[str]:
        """Give the command that serves the folder."""

    def __enter__(self) -> Self:
        try:
            self.set_up()
            self.start()
        except BaseException:
            self.remove()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.remove()

    @property
    def pid(self) -> int:
        """The process id of the running server."""
        if self._process is None:
            raise RuntimeError("the server is not running")
        return self._process.pid

    def start(self) -> None:
        """Start the server and return when it says that it is ready."""
        process = subprocess.Popen(
            [*ends_with_parent(), *self.command()],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            process_group=0,  # a Ctrl-C in the terminal is for the tests, which then stop the server
            **self._surroundings(),
        )
        announced = threading.Event()
        self._process = process
        self._reader = threading.Thread(target=self._read, args=(process, announced), daemon=True)
        self._reader.start()
        if not announced.wait(_START_LIMIT_SECONDS) or process.poll() is not None:
            self.kill()
            raise RuntimeError(f"the server did not start:\n{self.log()}")

    def _read(self, process: subprocess.Popen[bytes], announced: threading.Event) -> None:
        if process.stdout is not None:
            for line in process.stdout:
                self._lines.append(line)
                if self.ready_line in line:
                    announced.set()
        announced.set()

    def log(self) -> str:
        """Give the last lines the server wrote."""
        return b"".join(self._lines).decode(errors="replace")

    def kill(self) -> None:
        """Kill the server as a crash would, and wait until nothing of it is left."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """Shut the server down in order."""
        self._end(self.stop_signal)

    def restart(self) -> None:
        """Start the server again on the same folder, socket and port, after a stop if it runs."""
        self.stop()
        self.start()

    def freeze(self) -> None:
        """Make the server hang: connections stay open and nothing answers."""
        self._signal_all(signal.SIGSTOP)
        limit = time.monotonic() + _STOP_LIMIT_SECONDS
        while self._has_running_thread() and time.monotonic() < limit:
            os.sched_yield()

    def _has_running_thread(self) -> bool:
        """Whether a thread has not stopped yet: each does so when it next comes from the kernel."""
        states = Path("/proc").glob(f"{self.pid}/task/*/stat")  # none where there is no /proc
        return any(state.read_text().rpartition(") ")[2][:1] != "T" for state in states)

    def thaw(self) -> None:
        """Let a frozen server go on."""
        self._signal_all(signal.SIGCONT)

    def _signal_all(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)  # first, so that no child is born after the list is read
        children = Path(f"/proc/{self.pid}/task/{self.pid}/children")
        for pid in children.read_text().split() if children.exists() else ():
            with suppress(ProcessLookupError):
                os.kill(int(pid), number)

    def _end(self, how: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(how)
        if how != signal.SIGKILL:
            process.send_signal(signal.SIGCONT)
        try:
            process.wait(_STOP_LIMIT_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(_STOP_LIMIT_SECONDS)
        if self._reader is not None:
            # Children hold the pipe too, so its end means that the last of them is gone.
            self._reader.join(_STOP_LIMIT_SECONDS)
        if process.stdout is not None:
            process.stdout.close()

    def remove(self) -> None:
        """End the server and delete its folder."""
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _run(self, *command: str | Path) -> None:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=_START_LIMIT_SECONDS,
            check=False,
            **self._surroundings(),
        )
        if done.returncode != 0:
            raise RuntimeError(f"{command[0]} failed:\n{done.stdout.decode(errors='replace')}")

    def _surroundings(self) -> dict[str, Any]:
        path = os.environ.get("PATH", os.defpath)
        environment = {"PATH": f"{path}:/usr/sbin:/sbin", "LC_ALL": "C", "HOME": str(self.folder)}
        return {"cwd": self.folder, "env": environment, **self.account.popen_options()}

    def _private_file(self, name: str, content: str) -> Path:
        path = self.folder / name
        path.write_text(content, encoding="utf-8")
        path.chmod(0o600)
        os.chown(path, self.account.uid, self.account.gid)
        return path
