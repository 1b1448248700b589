"""One web process: uvicorn on a socket that is open already."""

from __future__ import annotations

import os
import signal
import socket

import structlog
import uvicorn

from core.garbage import forget_the_start
from core.logs import configure_logs
from core.settings import Settings

log = structlog.get_logger()

_KEEP_ALIVE_SECONDS = 75
"""Longer than clients and proxies keep idle connections, so that they close them, not we."""
GRACE_SECONDS = 10
"""For requests under way when the process is told to end."""


class _Server(uvicorn.Server):
    """Says when it is ready."""

    def __init__(self, config: uvicorn.Config, url: str, ready: int | None) -> None:
        super().__init__(config)
        self._url, self._ready = url, ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, then tell whoever started this process."""
        await super().startup(sockets)
        forget_the_start()
        log.info("web.started", url=self._url)
        if self._ready is not None and self.started:
            os.write(self._ready, b"1")
            os.close(self._ready)


def serve(settings: Settings, listener: socket.socket, *, ready: int | None = None) -> None:
    """Answer requests until SIGTERM or SIGINT; `ready` is a pipe that gets one byte when it can."""
    configure_logs(settings.log_level)
    config = uvicorn.Config(
        "app.asgi:app",
        loop="uvloop",
        http="httptools",
        ws="none",
        log_config=None,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=_KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=GRACE_SECONDS,
    )
    # uvicorn repeats the signal when it is done; by then it has been answered.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    _Server(config, settings.public_url, ready).run([listener])
