"""A disk without room for annotated pictures: what was counted is recorded, the picture named missing."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from core.domain.task import Task
from core.domain.wire import TaskView
from tests.support.poison import COUNTS_ALOUD
from tests.support.valkey import PrivateValkey
from tests.support.worker_bench import WorkerBench, open_bench
from tests.support.worker_process import worker_process

RECOGNISE = {"children": 1, "recognisers": (COUNTS_ALOUD,)}


@pytest.fixture(scope="module")
def valkey() -> Iterator[PrivateValkey]:
    with PrivateValkey() as server:
        yield server


@contextmanager
def full_file_system(folder: Path) -> Iterator[bool]:
    """Mount a file system of 64 kB on a folder and fill it; tells whether this user may."""
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        yield False
        return
    try:
        with pytest.raises(OSError, match="No space left"):
            (folder / "full").write_bytes(b"x" * 100_000)
        yield True
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def refuse_files(folder: Path) -> None:
    """Make a media folder that takes no annotated picture from anybody, root included."""
    (folder / "annotated").write_text("a file where a folder is wanted")


@pytest.mark.parametrize("way", ["refused", "full"])
async def test_the_count_is_recorded_and_the_picture_named_missing(
    sqlite_url: str, valkey: PrivateValkey, tmp_path: Path, way: str
) -> None:
    folder = tmp_path / "media"
    folder.mkdir()
    async with open_bench(sqlite_url, valkey, tmp_path, {"recognise": RECOGNISE}) as bench:
        if way == "refused":
            refuse_files(folder)
            await _counted_without_pictures(bench)
            return
        with full_file_system(folder) as is_full:
            if not is_full:  # whoever may not mount tests the folder that refuses a second time
                refuse_files(folder)
            await _counted_without_pictures(bench)


async def _counted_without_pictures(bench: WorkerBench) -> None:
    async with worker_process(bench.settings) as worker:
        urls = [bench.pictures.url(f"/{place}.jpg") for place in range(3)]
        task = await bench.ended(await bench.submit(*urls, models=["counts-aloud"] * 3))
        await worker.logged("picture.not_saved")
        _is_counted(task)
        sent, _ = await bench.delivery_ended(task)
        (told,) = [each.payload["data"] for each in bench.receiver.received]
        assert sent.status == "delivered"
        for picture in told["recognitions"]:
            assert (picture["recognition_url"], picture["total"]) == (None, 1)
            assert picture["error"]["code"] == "picture_not_saved"
        assert told["images"] == {"total": 3, "completed": 3, "failed": 0}


def _is_counted(task: Task) -> None:
    assert (task.status, task.attempt, task.failures, task.crashes) == ("completed", 1, 0, 0)
    view = TaskView.of(task)
    assert view.error is None
    for picture in view.recognitions:
        assert (picture.status, picture.recognition_url, picture.total) == ("completed", None, 1)
        assert picture.error is not None
        assert picture.error.code == "picture_not_saved"
        assert "could not be saved" in picture.error.message
