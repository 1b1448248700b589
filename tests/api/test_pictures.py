"""Pictures: uploads that come in, annotated ones that go out."""

from __future__ import annotations

from datetime import datetime, timedelta
from io import BytesIO
from typing import Any

import pytest
from PIL import Image

from core.clock import utc_now
from core.domain.links import Links
from core.domain.task import TaskStatus
from core.media import Media, MediaStoreSettings
from core.settings import Settings
from core.store.attempts import Finished
from tests.support.api import Api, camera, changed, open_api, row_of, submission
from tests.support.store import Store, recognised

JPEG = b"\xff\xd8\xff\xe0" + b"j" * 2_000_000


def png() -> bytes:
    """Give a small picture."""
    content = BytesIO()
    Image.new("RGB", (8, 8)).save(content, "PNG")
    return content.getvalue()


async def annotated(api: Api, store: Store, settings: Settings) -> str:
    """Complete a task with an annotated picture; give the path of that."""
    task = await api.accepted()
    started = (await store.start(await row_of(store, task))).tasks[0]
    (picture,) = started.recognitions
    media = Media(MediaStoreSettings(folder=settings.media.dir))
    key = await media.put_annotated(started.id, picture.id, JPEG)
    await store.record(started, recognised(picture, media_key=key), end=Finished(status=TaskStatus.COMPLETED))
    told = (await api.get(f"/v1/tasks/{task['id']}")).json
    return str(told["recognitions"][0]["recognition_url"])


def links(api: Api) -> Links:
    """Give what makes signed links in this process's callbacks."""
    found: Links = api.app.extensions["muster"].base.links
    return found


async def test_an_upload_is_kept_and_its_url_is_good_for_a_task(api: Api, settings: Settings) -> None:
    answer = await api.ask("POST", "/v1/uploads", content=png(), headers={"Content-Type": "image/png"})

    url, until = answer.json["url"], datetime.fromisoformat(answer.json["expires_at"])
    media = Media(MediaStoreSettings(folder=settings.media.dir))
    assert answer.status == 201
    assert await media.read_upload(url.removeprefix("upload:")) == png()
    assert timedelta(hours=23) < until - utc_now() <= timedelta(hours=24)
    await api.accepted(submission(cameras=[camera(image_url=url)]))


async def test_an_upload_may_be_larger_than_a_json_body(api: Api) -> None:
    answer = await api.ask("POST", "/v1/uploads", content=JPEG)

    assert answer.status == 201


async def test_an_upload_above_its_limit_is_refused(settings: Settings) -> None:
    async with open_api(changed(settings, intake={"max_upload_bytes": 1_000_000})) as api:
        answer = await api.ask("POST", "/v1/uploads", content=JPEG)

    assert (answer.status, answer.json["code"]) == (413, "body_too_large")
    assert "1000000" in answer.json["detail"]


@pytest.mark.parametrize("content", [b"", b"<html></html>", b"\xff\xd8\xff", b'{"url": 1}' * 10])
async def test_an_upload_that_is_no_picture_is_refused(api: Api, content: bytes) -> None:
    answer = await api.ask("POST", "/v1/uploads", content=content, headers={"Content-Type": "image/jpeg"})

    assert (answer.status, answer.json["code"], answer.pointers) == (422, "validation_failed", [""])
    assert "JPEG" in answer.json["errors"][0]["detail"]


async def test_an_annotated_picture_is_served_and_may_be_kept(
    api: Api, store: Store, settings: Settings
) -> None:
    path = await annotated(api, store, settings)

    answer = await api.get(path)
    again = await api.get(path, If_None_Match=answer.headers["ETag"])

    assert (answer.status, answer.content) == (200, JPEG)
    assert answer.headers["Content-Type"] == "image/jpeg"
    assert "private" in answer.headers["Cache-Control"]
    assert "max-age" in answer.headers["Cache-Control"]
    assert (again.status, again.content) == (304, b"")


async def test_a_signed_link_needs_no_key_and_ends(settings: Settings, store: Store) -> None:
    async with open_api(settings) as api:
        path = await annotated(api, store, settings)
    task_id, picture_id = (int(part) for part in path.split("/")[3:6:2])
    async with open_api(changed(settings, auth="on")) as closed:
        good = links(closed).image(task_id, picture_id, now=utc_now())
        over = links(closed).image(task_id, picture_id, now=utc_now() - timedelta(days=8))
        other = links(closed).image(task_id, picture_id + 1, now=utc_now())
        query = other.partition("?")[2]
        answers: list[Any] = [
            await closed.get(good.removeprefix(settings.public_url)),
            await closed.get(over.removeprefix(settings.public_url)),
            await closed.get(f"{path}?{query}"),
            await closed.get(f"{path}?expires=x&signature=y"),
            await closed.get(path),
        ]

    assert [answer.status for answer in answers] == [200, 401, 401, 401, 401]
    assert answers[0].content == JPEG


async def test_a_picture_that_is_not_there_is_not_found(api: Api) -> None:
    task = await api.accepted()
    picture_id = task["recognitions"][0]["id"]

    answers = [
        await api.get(f"/v1/tasks/{task['id']}/recognitions/{picture_id}/image"),
        await api.get(f"/v1/tasks/{task['id']}/recognitions/1/image"),
        await api.get(f"/v1/tasks/1/recognitions/{picture_id}/image"),
        await api.get("/v1/tasks/x/recognitions/y/image"),
    ]

    assert [answer.json["code"] for answer in answers] == ["not_found"] * 4
