"""Web processes as they are run, and callers that keep their connections and come again."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx

from core.settings import Settings
from core.store import migrate
from tests.support.valkey import PrivateValkey
from tests.support.worker_bench import worker_settings
from tests.support.worker_process import WorkerProcess, program

_ANSWER_SECONDS = 30.0
_START_SECONDS = 60.0


async def web_and_worker_settings(
    database_url: str, valkey: PrivateValkey, folder: Path, changes: Mapping[str, Any] | None = None
) -> Settings:
    """Migrate a database, empty Valkey and give settings that web and worker processes share."""
    valkey.flush()
    settings = worker_settings(database_url, valkey.url, folder, changes)
    await migrate.upgrade(settings.database)
    return settings


@asynccontextmanager
async def web_process(settings: Settings, *options: str) -> AsyncIterator[tuple[WorkerProcess, str]]:
    """Run `muster web` on a free port; gives the process and its url, once it answers."""
    # A url of its own is left out, so that the process tells the one that it listens on.
    own = settings.model_copy(update={"public_url": ""})
    async with program(own, "-m", "app.cli", "web", "--port", "0", *options) as process:
        try:
            started = await process.logged("web.started", limit_seconds=_START_SECONDS)
        except TimeoutError:
            raise AssertionError(f"it did not start:\n{process.text}") from None
        yield process, started["url"]


@asynccontextmanager
async def caller(url: str, **options: Any) -> AsyncIterator[httpx.AsyncClient]:
    """Give a client that keeps its connections alive."""
    async with httpx.AsyncClient(base_url=url, timeout=_ANSWER_SECONDS, trust_env=False, **options) as client:
        yield client


def body(*urls: str, **changes: Any) -> dict[str, Any]:
    """Give a submission of these pictures."""
    cameras = [{"camera_id": f"camera-{place}", "image_url": url} for place, url in enumerate(urls)]
    return {"business_id": "b-1", "system_code": "ranch", "prompt": "ALL", "cameras": cameras} | changes
