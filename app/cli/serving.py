"""One web process: uvicorn on a socket that is open already."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from types import FrameType

import structlog
import uvicorn
from quart import Quart

from app.factory import begin_drain, create_app
from core.garbage import forget_the_start
from core.logs import configure_logs
from core.settings import Settings

log = structlog.get_logger()

_KEEP_ALIVE_SECONDS = 75
"""Longer than clients and proxies keep idle connections, so that they close them, not we."""
LINGER_SECONDS = 3
"""For clients to learn, by the answer to their next request, that their connection ends."""
GRACE_SECONDS = 10
"""For requests under way after that."""
_LOOKS = 60


class _Server(uvicorn.Server):
    """Says when it is ready, and ends without a request that was sent and not answered.

    A connection that is kept alive must not be closed under a request that is on its way. So when the
    process is told to end it accepts no connection, serves those it has, lets each answer say that
    its connection ends with it, and closes only those that have been idle for a while.
    """

    def __init__(self, config: uvicorn.Config, app: Quart, url: str, ready: int | None) -> None:
        super().__init__(config)
        self._app, self._url, self._ready = app, url, ready
        self._is_hurried = False

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, then tell whoever started this process."""
        await super().startup(sockets)
        forget_the_start()
        log.info("web.started", url=self._url)
        if self._ready is not None and self.started:
            os.write(self._ready, b"1")
            os.close(self._ready)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Note a signal: the first one drains, another one hurries."""
        self._is_hurried = self.should_exit
        super().handle_exit(sig, frame)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Drain, then end."""
        log.info("web.draining", connections=len(self.server_state.connections))
        for server in self.servers:
            server.close()
        begin_drain(self._app)
        for _ in range(_LOOKS):
            if not self._has_connections:
                break
            await asyncio.sleep(LINGER_SECONDS / _LOOKS)
        await super().shutdown(sockets)
        log.info("web.stopped")

    @property
    def _has_connections(self) -> bool:
        return bool(self.server_state.connections) and not self._is_hurried


def serve(settings: Settings, listener: socket.socket, *, ready: int | None = None) -> None:
    """Answer requests until SIGTERM or SIGINT; `ready` is a pipe that gets one byte when it can."""
    configure_logs(settings.log_level)
    app = create_app(settings)
    config = uvicorn.Config(
        app,
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
    _Server(config, app, settings.public_url, ready).run([listener])
