"""Four clocks, each with its own code: waiting, fetching a picture, recognising it, the task as a whole."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

import pytest

from core.domain.routing import QueueName
from core.settings import Settings
from tests.support.api import Api, camera, changed, open_api, submission
from tests.support.behaviours import hang, reply
from tests.support.http_servers import ImageServer
from tests.support.worker_bench import PICTURE, until
from worker.factory import open_worker

HANG = "tests.support.recognisers:Hang"
ALWAYS = [{"name": "always", "start": "00:00", "end": "00:00", "model": "picture"}]


@dataclass(frozen=True, slots=True, kw_only=True)
class Clocks:
    """A web process, a worker with short clocks, and a camera."""

    api: Api
    pictures: ImageServer

    async def ended(self, *urls: str, **changes: Any) -> Any:
        """Submit a task and wait for its end."""
        cameras = [camera(image_url=url) for url in urls]
        return await self.end_of(
            await self.api.accepted(submission(prompt="ALL", cameras=cameras, **changes))
        )

    async def end_of(self, told: Any) -> Any:
        """Wait for a task's end."""

        async def read() -> Any:
            return (await self.api.get(f"/v1/tasks/{told['id']}?wait=5")).json

        return await until(read, lambda task: task["completed_at"] is not None)


@pytest.fixture
async def clocks(settings: Settings) -> AsyncIterator[Clocks]:
    own = changed(
        settings,
        embedded=True,
        routing=[{**ALWAYS[0], "end": "12:00"}, {**ALWAYS[0], "name": "later", "start": "12:00"}],
        queue={"max_failures": 1},
        fetch={"timeout_seconds": 0.5},
        recognise={"children": 1, "timeout_seconds": 0.5, "recognisers": (HANG,)},
    )
    async with AsyncExitStack() as stack:
        pictures = await stack.enter_async_context(ImageServer())
        pictures.default = reply(200, PICTURE)
        group = await stack.enter_async_context(asyncio.TaskGroup())
        runner = await stack.enter_async_context(open_worker(own, group))
        api = await stack.enter_async_context(open_api(own))
        running = group.create_task(runner.run(group))
        yield Clocks(api=api, pictures=pictures)
        runner.stop()
        await running


async def test_each_clock_ends_what_it_measures_with_a_code_of_its_own(clocks: Clocks) -> None:
    fine = clocks.pictures.url("/fine.jpg")
    hanging = clocks.pictures.serve("/hangs.jpg", hang())
    fetched = await clocks.ended(fine, hanging)
    assert (fetched["status"], fetched["error"]) == ("completed", None)
    assert _codes(fetched) == [None, "image_fetch_timeout"]
    assert (await clocks.ended(hanging))["error"]["code"] == "image_fetch_timeout"

    recognised = await clocks.ended(fine, model="hang")
    assert (recognised["status"], recognised["error"]["code"]) == ("failed", "recogniser_timeout")
    assert _codes(recognised) == ["recogniser_timeout"]


async def test_a_task_out_of_time_is_ended_by_its_own_clock(clocks: Clocks) -> None:
    # More than one second's worth of half-second waits at eight pictures of a host at once.
    urls = [clocks.pictures.serve(f"/slow-{place}.jpg", hang()) for place in range(40)]
    task = await clocks.ended(clocks.pictures.url("/fine.jpg"), *urls, timeout_seconds=1)
    assert (task["status"], task["attempt"], task["images"]["completed"]) == ("completed", 1, 1)
    assert set(_codes(task)) == {None, "image_fetch_timeout", "task_timeout"}


async def test_a_task_that_waits_too_long_expires_and_never_starts(clocks: Clocks) -> None:
    body = submission(
        prompt="ALL", cameras=[camera(image_url=clocks.pictures.url("/late.jpg"))], queue_ttl_seconds=1
    )
    plan = clocks.api.app.extensions["muster"].base.plan
    await plan.set_paused(QueueName.RECOGNITION, paused=True)
    told = await clocks.api.accepted(body)
    task = await clocks.end_of(told)
    assert (task["status"], task["error"]["code"], task["attempt"]) == ("expired", "queue_ttl_exceeded", 0)
    assert (task["started_at"], _codes(task)) == (None, ["queue_ttl_exceeded"])
    assert clocks.pictures.requests == []


def _codes(task: Any) -> list[str | None]:
    return [picture["error"] and picture["error"]["code"] for picture in task["recognitions"]]
