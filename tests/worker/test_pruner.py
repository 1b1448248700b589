"""What was kept long enough goes with its pictures, and pictures that were left behind go too."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import update

from core.domain.recognition import ErrorNote
from core.domain.task import Task, TaskStatus
from core.media import SHARDS, Media, MediaStoreSettings
from core.store.attempts import Finished
from core.store.pruning import prune_tasks
from core.store.tables import worker
from core.store.types import server_now
from tests.support.duties import pruner, store_of
from tests.support.store import recognised
from tests.support.worker_bench import WorkerBench, until

JPEG = b"jpeg"
SOON_DAYS = 0.01 / 86_400
LATE = ErrorNote(code="task_timeout", message="late")


def pictures(folder: Path) -> set[str]:
    return {path.name for path in folder.rglob("*.jpg")}


async def ended(bench: WorkerBench, media: Media, end: Finished) -> Task:
    """A task that has ended, with a picture."""
    stored = store_of(bench)
    task = await bench.submit(bench.pictures.url("/picture.jpg"), callback_url=None)
    (begun,) = (await stored.start(task)).tasks
    picture = begun.recognitions[0]
    key = await media.put_annotated(begun.id, picture.id, JPEG)
    await stored.record(begun, replace(recognised(picture), media_key=key), end=end)
    return begun


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "kept"


@pytest.fixture
def media(folder: Path) -> Media:
    return Media(MediaStoreSettings(folder=folder))


async def test_the_pruner_erases_what_was_kept_long_enough_with_its_pictures(
    bench: WorkerBench, media: Media, folder: Path
) -> None:
    await ended(bench, media, Finished(status=TaskStatus.COMPLETED))
    failed = await ended(bench, media, Finished(status=TaskStatus.FAILED, error=LATE))

    async def left() -> int:
        await pruner(bench, media, completed=SOON_DAYS).step()
        return await store_of(bench).count("task")

    await until(left, lambda count: count == 1)
    assert (await bench.reload(failed)).status is TaskStatus.FAILED
    assert pictures(folder) == {f"{failed.recognitions[0].id}.jpg"}


async def test_pictures_that_were_left_behind_are_found_folder_by_folder(
    bench: WorkerBench, media: Media, folder: Path
) -> None:
    kept = await ended(bench, media, Finished(status=TaskStatus.COMPLETED))
    for orphan in range(1, 41):
        await media.put_annotated(orphan, orphan, JPEG)
    token = await media.put_upload(JPEG)

    found = [await pruner(bench, media).drop_orphans(shard) for shard in range(SHARDS)]

    assert (sum(found), max(found) < 40) == (40, True)
    assert pictures(folder) == {f"{kept.recognitions[0].id}.jpg"}
    assert await media.read_upload(token) == JPEG


async def test_a_pruner_that_dies_between_row_and_picture_leaves_nothing_in_the_end(
    bench: WorkerBench, media: Media, folder: Path
) -> None:
    await ended(bench, media, Finished(status=TaskStatus.COMPLETED))

    async def left() -> int:
        # The batch of a pruner that dies here: its rows are gone, its pictures are not.
        await prune_tasks(bench.base.db, TaskStatus.COMPLETED, older_than_seconds=0.01)
        return await store_of(bench).count("task")

    await until(left, lambda count: count == 0)
    assert len(pictures(folder)) == 1

    again = pruner(bench, media)
    for _ in range(SHARDS):
        await again.step()
    assert pictures(folder) == set()


async def test_rows_of_workers_that_have_left_are_forgotten(bench: WorkerBench, media: Media) -> None:
    stored = store_of(bench)
    await stored.ids.take()
    gone, _alive = await stored.open_worker(), await stored.open_worker()
    long_ago = server_now(-timedelta(days=8).total_seconds())
    await stored.run(update(worker).where(worker.c.id == gone).values(closed_at=long_ago))
    await pruner(bench, media).step()
    assert (await stored.count("worker"), await stored.count("instance_lease")) == (1, 1)
