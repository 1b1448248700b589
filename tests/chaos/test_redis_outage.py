"""Redis away, killed or hanging: tasks are accepted and read, and worked on soon after its return."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Any

import httpx
import pytest

from tests.support.behaviours import reply
from tests.support.http_servers import ImageServer
from tests.support.valkey import PrivateValkey
from tests.support.web_process import body, caller, web_and_worker_settings, web_process
from tests.support.worker_bench import PICTURE, until
from tests.support.worker_process import worker_process

IN_TIME_SECONDS = 2.0
RESUMED_SECONDS = 5.0


@pytest.fixture
def valkey() -> Iterator[PrivateValkey]:
    with PrivateValkey() as server:
        yield server


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """A web process and a worker, and whom they know."""

    client: httpx.AsyncClient
    pictures: ImageServer

    async def submitted(self) -> tuple[Any, float]:
        """Submit a task; gives the answer and the time it took."""
        begun = monotonic()
        answer = await self.client.post("/v1/tasks", json=body(self.pictures.url("/picture.jpg")))
        assert answer.status_code == 202, answer.text
        return answer.json(), monotonic() - begun

    async def ended(self, task: Any, *, limit_seconds: float) -> Any:
        """Wait for a task's end."""

        async def read() -> Any:
            return (await self.client.get(f"/v1/tasks/{task['id']}")).json()

        return await until(read, lambda found: found["status"] == "completed", limit_seconds=limit_seconds)


@pytest.fixture
async def service(sqlite_url: str, valkey: PrivateValkey, tmp_path: Path) -> AsyncIterator[Service]:
    settings = await web_and_worker_settings(sqlite_url, valkey, tmp_path, {"recognise": {"children": 1}})
    async with AsyncExitStack() as stack:
        _, url = await stack.enter_async_context(web_process(settings))
        await stack.enter_async_context(worker_process(settings))
        pictures = await stack.enter_async_context(ImageServer())
        pictures.default = reply(200, PICTURE)
        client = await stack.enter_async_context(caller(url))
        yield Service(client=client, pictures=pictures)


@pytest.mark.parametrize("way", ["killed", "hanging"])
async def test_tasks_are_accepted_and_read_without_redis_and_done_soon_after_its_return(
    service: Service, valkey: PrivateValkey, way: str
) -> None:
    before, _ = await service.submitted()
    await service.ended(before, limit_seconds=10)
    if way == "killed":
        valkey.kill()
    else:
        valkey.freeze()
    first, seconds = await service.submitted()
    # The commit took none of this: it is how long a server that says nothing is given.
    assert seconds < 2 * IN_TIME_SECONDS
    others = await asyncio.gather(*(service.submitted() for _ in range(10)))
    assert max(seconds for _, seconds in others) < IN_TIME_SECONDS
    for task in (first, *(task for task, _ in others)):
        assert (task["status"], task["queue"]) == ("pending", None)
    begun = monotonic()
    read = await service.client.get(f"/v1/tasks/{first['id']}")
    listed = await service.client.get("/v1/tasks")
    ready = await service.client.get("/readyz")
    assert monotonic() - begun < IN_TIME_SECONDS
    assert (read.status_code, read.json()["queue"], listed.status_code) == (200, None, 200)
    assert len(listed.json()["items"]) == 12
    assert (ready.status_code, ready.json()["reasons"] != []) == (200, True)
    if way == "killed":
        valkey.start()
    else:
        valkey.thaw()
    returned_at = monotonic()
    for task in (first, *(task for task, _ in others)):
        ended = await service.ended(task, limit_seconds=RESUMED_SECONDS * 2)
        assert ended["attempt"] == 1
    assert monotonic() - returned_at < RESUMED_SECONDS
