"""The HTTP door with a real worker behind it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from io import BytesIO

import pytest
from PIL import Image

from core.settings import Settings
from tests.support.api import Api, camera, changed, open_api, submission
from worker.factory import open_worker

ONLY_PICTURE = [
    {"name": "morning", "start": "00:00", "end": "12:00", "model": "picture"},
    {"name": "evening", "start": "12:00", "end": "00:00", "model": "picture"},
]


@pytest.fixture
async def served(settings: Settings) -> AsyncIterator[Api]:
    """Give a web process and a worker that knows the model `picture` alone."""
    own = changed(settings, routing=ONLY_PICTURE, recognise={"children": 1})
    async with asyncio.TaskGroup() as group, open_worker(own, group) as runner, open_api(own) as api:
        running = group.create_task(runner.run(group))
        yield api
        runner.stop()
        await running


async def uploaded(api: Api) -> str:
    """Upload a picture and give its url."""
    content = BytesIO()
    Image.new("RGB", (320, 200), "green").save(content, "JPEG")
    return str((await api.ask("POST", "/v1/uploads", content=content.getvalue())).json["url"])


async def test_a_submission_that_prefers_to_wait_answers_the_ended_task(served: Api) -> None:
    body = submission(prompt="ALL", cameras=[camera(image_url=await uploaded(served))])

    answer = await served.post("/v1/tasks", body, Prefer="respond-async, wait=20")

    task = answer.json
    assert (answer.status, task["status"]) == (200, "completed")
    assert answer.headers["Preference-Applied"] == "wait=20"
    assert task["recognitions"][0]["image"] == {"width": 320, "height": 200, "channels": 3}
    assert task["urls"]["self"] == answer.headers["Location"]


async def test_the_annotated_picture_of_a_task_can_be_seen(served: Api) -> None:
    body = submission(prompt="ALL", cameras=[camera(image_url=await uploaded(served))])
    task = (await served.post("/v1/tasks", body, Prefer="wait=20")).json

    answer = await served.get(task["recognitions"][0]["recognition_url"])

    with Image.open(BytesIO(answer.content)) as picture:
        assert (picture.format, picture.size) == ("JPEG", (320, 200))


async def test_a_worker_at_work_is_listed(served: Api) -> None:
    body = submission(prompt="ALL", cameras=[camera(image_url=await uploaded(served))])
    await served.post("/v1/tasks", body, Prefer="wait=20")

    (worker,) = (await served.get("/v1/workers")).json["items"]

    assert (worker["tasks"], worker["models"]) == (0, ["picture", "ssdlite"])
    assert (await served.get("/readyz")).json == {"status": "ok", "reasons": []}
