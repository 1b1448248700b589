"""What the demonstration needs around it: a Muster of its own, cameras, and somebody who is called back."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from tempfile import TemporaryDirectory

PHOTOS = Path(__file__).parent / "photos"
_UP = (sys.executable, "-P", "-m", "app.cli", "up", "--port", "0")
_START_SECONDS = 90
_STOP_SECONDS = 45
_LOOK_SECONDS = 0.05


class DemoFailed(Exception):
    """Something was not as expected."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """A running Muster."""

    url: str
    webhook_secret: str
    stop: Callable[[], None]
    """Stops it as Ctrl-C does; raises DemoFailed when it does not end well."""


@contextmanager
def own_service() -> Iterator[Service]:
    """Run `muster up` on a free port, in a folder that is removed afterwards."""
    with TemporaryDirectory(prefix="muster-demo-", ignore_cleanup_errors=True) as folder:
        data_dir, log = Path(folder) / "data", Path(folder) / "log"
        with log.open("w") as lines:
            running = subprocess.Popen(
                [*_UP, "--data-dir", str(data_dir)],
                stdin=subprocess.DEVNULL,
                stdout=lines,
                stderr=lines,
                env=_environment(),
            )
        try:
            ready = _wait_until_ready(running, data_dir / "ready.json")
            yield Service(
                url=ready["url"], webhook_secret=ready["webhook_secret"], stop=lambda: _stop_well(running)
            )
        except DemoFailed as error:
            said = "\n".join(log.read_text(errors="replace").splitlines()[-20:])
            raise DemoFailed(f"{error}\n\nThe service said:\n{said}") from None
        finally:
            _stop(running)


def _environment() -> dict[str, str]:
    """This environment without settings of another Muster; one slot, so that the queue can be seen."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("MUSTER_")}
    return kept | {"MUSTER_WORKER_SLOTS": "1"}


def _wait_until_ready(running: subprocess.Popen[bytes], path: Path) -> dict[str, str]:
    ends_at = time.monotonic() + _START_SECONDS
    while time.monotonic() < ends_at:
        if path.exists():
            ready: dict[str, str] = json.loads(path.read_text())
            return ready
        if running.poll() is not None:
            raise DemoFailed(f"muster up ended with status {running.returncode}.")
        time.sleep(_LOOK_SECONDS)
    raise DemoFailed(f"muster up was not ready within {_START_SECONDS} s.")


def _stop(running: subprocess.Popen[bytes]) -> int:
    if running.poll() is None:
        running.terminate()
    try:
        return running.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        running.kill()
        return running.wait()


def _stop_well(running: subprocess.Popen[bytes]) -> None:
    status = _stop(running)
    if status != 0:
        raise DemoFailed(f"muster up ended with status {status}.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Callback:
    """One POST that came in, not yet believed."""

    headers: dict[str, str]
    body: bytes


@dataclass
class Neighbours:
    """Cameras that show the demo photos, and a receiver of callbacks, on one loopback port."""

    url: str
    callbacks: list[Callback] = field(default_factory=list)
    came: threading.Condition = field(default_factory=threading.Condition)

    def wait_for(self, number: int, limit_seconds: float) -> list[Callback]:
        """Wait until so many callbacks have come."""
        with self.came:
            if not self.came.wait_for(lambda: len(self.callbacks) >= number, limit_seconds):
                raise DemoFailed(
                    f"{len(self.callbacks)} of {number} callbacks came within {limit_seconds} s."
                )
            return list(self.callbacks)


@contextmanager
def neighbours() -> Iterator[Neighbours]:
    """Serve photos under their names, and take what is posted to /callback."""
    found = Neighbours(url="")

    class Requests(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            """Show a photo."""
            photo = PHOTOS / Path(self.path).name
            content = photo.read_bytes() if photo.is_file() else b""
            self.send_response(200 if content else 404)
            self.send_header("Content-Type", "image/webp")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def do_POST(self) -> None:
            """Take a callback."""
            body = self.rfile.read(int(self.headers["Content-Length"]))
            with found.came:
                found.callbacks.append(Callback(headers=dict(self.headers.items()), body=body))
                found.came.notify_all()
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing: the demonstration tells its own story."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Requests) as server:
        server.daemon_threads = True
        found.url = f"http://127.0.0.1:{server.server_port}"
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield found
        finally:
            server.shutdown()
