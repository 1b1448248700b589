"""Pictures kept in a folder."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from core.errors import MediaUnavailable, NotFound
from core.media import Media, MediaStoreSettings

JPEG = b"\xff\xd8\xff some picture"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "media"


@pytest.fixture
def media(folder: Path) -> Media:
    return Media(MediaStoreSettings(folder=folder))


async def test_an_annotated_picture_comes_back_byte_for_byte(media: Media) -> None:
    key = await media.put_annotated(7391224518873088, 7391224518873089, JPEG)
    assert await media.read(key) == JPEG


async def test_a_second_run_replaces_the_annotated_picture(media: Media) -> None:
    first = await media.put_annotated(1, 2, JPEG)
    assert await media.put_annotated(1, 2, JPEG + b"!") == first
    assert await media.read(first) == JPEG + b"!"


async def test_the_folder_is_made_when_it_is_not_there(media: Media, folder: Path) -> None:
    key = await media.put_annotated(1, 2, JPEG)
    assert (folder / key).read_bytes() == JPEG


async def test_tasks_of_one_millisecond_do_not_all_share_a_folder(media: Media) -> None:
    keys = [await media.put_annotated(task_id << 12, 1, JPEG) for task_id in range(50)]
    assert len({key.split("/")[1] for key in keys}) > 20


async def test_a_deleted_picture_is_not_found_and_deleting_again_is_no_fault(media: Media) -> None:
    key = await media.put_annotated(1, 2, JPEG)
    kept = await media.put_annotated(1, 3, JPEG)
    await media.delete([key])
    await media.delete([key, "annotated/aa/9/9.jpg"])
    with pytest.raises(NotFound):
        await media.read(key)
    assert await media.read(kept) == JPEG


async def test_an_upload_is_read_by_its_token(media: Media) -> None:
    token = await media.put_upload(JPEG)
    assert await media.read_upload(token) == JPEG
    assert await media.put_upload(JPEG) != token


@pytest.mark.parametrize(
    "name",
    [
        "",
        "../secret",
        "..",
        "/etc/passwd",
        "a/../../secret",
        "uploads/aa",
        "0" * 31,
        "A" * 32,
        "0" * 32 + "\n",
    ],
)
async def test_a_name_that_is_not_ours_leads_nowhere(media: Media, folder: Path, name: str) -> None:
    (folder.parent / "secret").write_bytes(b"secret")
    await media.put_upload(JPEG)
    with pytest.raises(NotFound):
        await media.read_upload(name)
    with pytest.raises(NotFound):
        await media.read(name)
    await media.delete([name])
    assert (folder.parent / "secret").read_bytes() == b"secret"


async def test_only_uploads_older_than_the_mark_are_purged(media: Media) -> None:
    tokens = [await media.put_upload(JPEG) for _ in range(5)]
    annotated = await media.put_annotated(1, 2, JPEG)
    now = datetime.now(UTC)
    assert await media.purge_uploads(now - timedelta(hours=1)) == 0
    assert await media.read_upload(tokens[0]) == JPEG
    assert await media.purge_uploads(now + timedelta(hours=1)) == 5
    for token in tokens:
        with pytest.raises(NotFound):
            await media.read_upload(token)
    assert await media.read(annotated) == JPEG


async def test_purging_without_any_upload_is_no_fault(media: Media) -> None:
    assert await media.purge_uploads(datetime.now(UTC)) == 0


async def test_a_folder_that_cannot_be_written_is_said_to_be_unavailable(media: Media, folder: Path) -> None:
    _put_a_file_in_the_place_of(folder)
    with pytest.raises(MediaUnavailable):
        await media.put_upload(JPEG)
    with pytest.raises(MediaUnavailable):
        Media(MediaStoreSettings(folder=folder / "below"))


async def test_a_read_has_a_time_limit(folder: Path) -> None:
    key = await Media(MediaStoreSettings(folder=folder)).put_annotated(1, 2, JPEG)
    hasty = Media(MediaStoreSettings(folder=folder, timeout_seconds=0))
    with pytest.raises(MediaUnavailable):
        await hasty.read(key)


def _put_a_file_in_the_place_of(folder: Path) -> None:
    folder.rmdir()
    folder.write_bytes(b"a file is where the folder was")
