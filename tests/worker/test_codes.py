"""Every error of a picture, code by code: tried again when that may help, and only then."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import replace
from io import BytesIO

import pytest
import pytest_asyncio
from PIL import Image

from core.domain.task import Task
from tests.support.behaviours import Behaviour, claims, drip, hang, redirect, reply, reset
from tests.support.valkey import PrivateValkey
from tests.support.worker_bench import PICTURE, WorkerBench, open_bench, running_worker

pytestmark = pytest.mark.asyncio(loop_scope="module")

MAX_BYTES = 100_000
RUNS = 2
AT_ONCE = ("Retry-After", "0")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def bench(
    valkey: PrivateValkey, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[WorkerBench]:
    """Run one worker that gives a picture two runs."""
    folder = tmp_path_factory.mktemp("codes")
    changes = {
        "fetch": {"timeout_seconds": 0.5, "max_bytes": MAX_BYTES},
        "queue": {"max_failures": RUNS},
        "recognise": {
            "children": 2,
            "timeout_seconds": 0.5,
            "recognisers": ("tests.support.recognisers:Hang", "tests.support.recognisers:Segfault"),
        },
    }
    async with AsyncExitStack() as stack:
        url = f"sqlite+aiosqlite:///{folder / 'muster.db'}"
        opened = await stack.enter_async_context(open_bench(url, valkey, folder, changes))
        await stack.enter_async_context(running_worker(opened.settings))
        yield opened


def too_many_pixels() -> bytes:
    """A small file of more than 40 megapixels."""
    content = BytesIO()
    Image.new("1", (8000, 6000)).save(content, "PNG")
    return content.getvalue()


PASSING: dict[str, tuple[str, Behaviour]] = {
    **{
        f"status {status}": ("image_http_status", reply(status, b"", AT_ONCE))
        for status in (408, 425, 429, 500, 502, 503, 504)
    },
    "reset": ("image_fetch_failed", reset()),
    "cut off": ("image_fetch_failed", claims(5000, PICTURE[:100])),
    "hangs": ("image_fetch_timeout", hang()),
    "drips": ("image_fetch_timeout", drip(PICTURE, 0.1)),
}
LASTING: dict[str, tuple[str, Behaviour]] = {
    **{f"status {status}": ("image_http_status", reply(status)) for status in (400, 401, 403, 404, 410)},
    "blocked": ("image_blocked_address", redirect("http://169.254.169.254/latest")),
    "large": ("image_too_large", reply(200, b"x" * (MAX_BYTES + 1))),
    "pixels": ("image_too_many_pixels", reply(200, too_many_pixels())),
    "page": ("image_not_an_image", reply(200, b"<html>" * 100)),
    "damaged": ("image_decode_failed", reply(200, PICTURE[: len(PICTURE) // 2])),
}


async def _ended(bench: WorkerBench, name: str, behaviour: Behaviour) -> tuple[Task, int]:
    path = f"/{name.replace(' ', '-')}.jpg"
    task = await bench.ended(await bench.submit(bench.pictures.serve(path, behaviour)))
    return task, bench.fetches(path)


@pytest.mark.parametrize("name", PASSING)
async def test_what_may_pass_is_fetched_again(bench: WorkerBench, name: str) -> None:
    code, behaviour = PASSING[name]
    task, fetches = await _ended(bench, name, behaviour)
    assert task.error is not None
    assert (task.status, task.error.code) == ("failed", code)
    assert (task.attempt, task.failures, task.crashes, fetches) == (RUNS, RUNS - 1, 0, RUNS)


@pytest.mark.parametrize("name", LASTING)
async def test_what_will_stay_is_fetched_once(bench: WorkerBench, name: str) -> None:
    code, behaviour = LASTING[name]
    task, fetches = await _ended(bench, f"lasting {name}", behaviour)
    assert task.error is not None
    assert (task.status, task.error.code) == ("failed", code)
    assert (task.attempt, task.failures, task.crashes, fetches) == (1, 0, 0, 1)


@pytest.mark.parametrize(
    ("model", "code"), [("hang", "recogniser_timeout"), ("segfault", "recogniser_crashed")]
)
async def test_what_the_recogniser_did_is_tried_again(bench: WorkerBench, model: str, code: str) -> None:
    task = await bench.ended(await bench.submit(bench.pictures.url("/fine.jpg"), models=(model,)))
    assert task.error is not None
    assert (task.status, task.error.code) == ("failed", code)
    assert (task.attempt, task.failures, task.crashes) == (RUNS, RUNS - 1, 0)


async def test_an_area_outside_its_picture_is_no_reason_to_try_again(bench: WorkerBench) -> None:
    new = await bench.new(bench.pictures.url("/area.jpg"))
    (picture,) = new.recognitions
    outside = replace(picture, monitor_areas=(((0.0, 0.0), (9000.0, 0.0), (9000.0, 9000.0)),))
    stored = (await bench.submissions.submit(replace(new, recognitions=(outside,)))).task
    await bench.base.plan.enqueue_tasks([stored])
    task = await bench.ended(stored)
    assert task.error is not None
    assert (task.error.code, task.attempt, bench.fetches("/area.jpg")) == ("area_outside_picture", 1, 1)
