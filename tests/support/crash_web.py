"""A web process as it is run, to be killed between two steps of a request."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import httpx

from core.settings import Settings
from tests.support.worker_process import WorkerProcess, started_process

_ANSWER_SECONDS = 20.0


class WebProcess:
    """`muster web`, and a caller of it."""

    def __init__(self, process: WorkerProcess, caller: httpx.AsyncClient) -> None:
        self.process, self._caller = process, caller

    async def submit(
        self, body: Mapping[str, Any], *, key: str | None = None, client_id: str | None = None
    ) -> httpx.Response:
        """Submit a task; raises httpx.TransportError when the process dies before it has answered."""
        headers = {} if key is None else {"Idempotency-Key": key}
        if client_id is not None:
            return await self._caller.put(f"/v1/tasks/{client_id}", json=body, headers=headers)
        return await self._caller.post("/v1/tasks", json=body, headers=headers)

    async def cancel(self, task_id: int) -> httpx.Response:
        """Cancel a task."""
        return await self._caller.post(f"/v1/tasks/{task_id}/cancel")

    async def get(self, path: str) -> httpx.Response:
        """Read something."""
        return await self._caller.get(path)


@asynccontextmanager
async def web_process(settings: Settings, **environment: str) -> AsyncIterator[WebProcess]:
    """Start a web process on a free port and wait until it answers; killed at the end if it still runs."""
    arguments = ("app.cli", "web", "--port", "0")
    async with started_process(settings, *arguments, **{"MUSTER_PUBLIC_URL": "", **environment}) as process:
        url = (await process.logged("web.started"))["url"]
        async with httpx.AsyncClient(base_url=url, timeout=_ANSWER_SECONDS, trust_env=False) as caller:
            yield WebProcess(process, caller)
