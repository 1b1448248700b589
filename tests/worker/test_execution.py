"""Tasks from the queue to their end, by a whole worker: what is fetched, tried again, kept and told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import UTC, datetime, time

import pytest
import pytest_asyncio

from core.domain.delivery import EventType
from core.domain.recognition import RecognitionStatus
from core.domain.routing import QueueName, Shift, model_at
from core.domain.task import Task, TaskStatus
from core.store.tasks import read_history
from tests.support.behaviours import hang, reply, reset
from tests.support.valkey import PrivateValkey
from tests.support.worker_bench import PICTURE, WorkerBench, gated, in_turn, open_bench, running_worker, until

pytestmark = pytest.mark.asyncio(loop_scope="module")

AT_ONCE = ("Retry-After", "0")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def bench(
    valkey: PrivateValkey, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[WorkerBench]:
    """Run one worker for the whole module."""
    folder = tmp_path_factory.mktemp("execution")
    url = f"sqlite+aiosqlite:///{folder / 'muster.db'}"
    changes = {"fetch": {"timeout_seconds": 0.5}, "worker": {"slots": 8}}
    async with AsyncExitStack() as stack:
        opened = await stack.enter_async_context(open_bench(url, valkey, folder, changes))
        await stack.enter_async_context(running_worker(opened.settings))
        yield opened


def codes(task: Task) -> list[str | None]:
    return [picture.error.code if picture.error else None for picture in task.recognitions]


def code(task: Task) -> str | None:
    return task.error.code if task.error else None


async def test_every_picture_of_a_task_is_recognised_and_the_caller_told(bench: WorkerBench) -> None:
    urls = [bench.pictures.url(f"/all-{place}.jpg") for place in range(5)]
    task = await bench.ended(await bench.submit(*urls))
    assert (task.status, task.attempt, task.failures, task.images_completed) == ("completed", 1, 0, 5)
    assert all(picture.findings and picture.media_key for picture in task.recognitions)
    _, tries = await bench.delivery_ended(task)
    assert [one.status_code for one in tries] == [204]
    told = next(each for each in bench.receiver.received if each.payload["data"]["id"] == str(task.id))
    assert (told.is_verified, told.type) == (True, "task.completed")
    assert [line.to_status for line in await read_history(bench.base.db, task.id)] == [
        TaskStatus.PENDING,
        TaskStatus.IN_PROGRESS,
        TaskStatus.COMPLETED,
    ]


async def test_a_task_whose_pictures_fail_in_part_is_completed_with_the_faulty_ones_named(
    bench: WorkerBench,
) -> None:
    missing = bench.pictures.serve("/part-missing.jpg", reply(404))
    page = bench.pictures.serve("/part-page.jpg", reply(200, b"<html>" * 100))
    cut = bench.pictures.add("/part-cut.jpg", PICTURE[: len(PICTURE) // 2])
    task = await bench.ended(await bench.submit(bench.pictures.url("/part.jpg"), missing, page, cut))
    assert (task.status, code(task)) == ("completed", None)
    assert codes(task) == [None, "image_http_status", "image_not_an_image", "image_decode_failed"]


async def test_pictures_that_fail_alike_fail_the_task_with_their_code_at_once(bench: WorkerBench) -> None:
    missing = bench.pictures.serve("/gone.jpg", reply(404))
    task = await bench.ended(await bench.submit(missing, missing))
    assert (task.status, code(task), task.attempt) == ("failed", "image_http_status", 1)
    assert bench.fetches("/gone.jpg") == 2
    sent, _ = await bench.delivery_ended(task)
    assert sent.event == EventType.FAILED


async def test_pictures_that_fail_each_in_its_way_exhaust_the_attempts(bench: WorkerBench) -> None:
    missing = bench.pictures.serve("/way-missing.jpg", reply(404))
    page = bench.pictures.serve("/way-page.jpg", reply(200, b"<html>" * 100))
    task = await bench.ended(await bench.submit(missing, page))
    assert (task.status, code(task), task.attempt) == ("failed", "attempts_exhausted", 1)
    assert codes(task) == ["image_http_status", "image_not_an_image"]


async def test_only_what_failed_is_fetched_again(bench: WorkerBench) -> None:
    good = bench.pictures.url("/kept.jpg")
    busy = bench.pictures.serve("/busy.jpg", in_turn(reply(503, b"", AT_ONCE), reply(200, PICTURE)))
    task = await bench.ended(await bench.submit(good, busy))
    assert (task.status, task.attempt, task.failures) == ("completed", 2, 1)
    assert task.images_completed == 2
    assert (bench.fetches("/kept.jpg"), bench.fetches("/busy.jpg")) == (1, 2)


async def test_a_picture_is_given_up_after_three_runs(bench: WorkerBench) -> None:
    busy = bench.pictures.serve("/always-busy.jpg", reply(429, b"", AT_ONCE))
    task = await bench.ended(await bench.submit(busy))
    assert (task.status, code(task)) == ("failed", "image_http_status")
    assert (task.attempt, task.failures, task.crashes) == (3, 2, 0)
    assert bench.fetches("/always-busy.jpg") == 3


async def test_a_connection_that_breaks_is_tried_again_after_a_wait(bench: WorkerBench) -> None:
    broken = bench.pictures.serve("/broken.jpg", in_turn(reset(), reply(200, PICTURE)))
    submitted = await bench.submit(broken)
    waiting = await bench.reached(submitted, lambda task: task.failures == 1)
    task = await bench.ended(submitted)
    assert (task.status, task.attempt, bench.fetches("/broken.jpg")) == ("completed", 2, 2)
    if waiting.status is TaskStatus.PENDING and waiting.next_attempt_at and waiting.updated_at:
        assert 0 < (waiting.next_attempt_at - waiting.updated_at).total_seconds() <= 2


async def test_retry_after_is_kept_to(bench: WorkerBench) -> None:
    slow = bench.pictures.serve(
        "/patience.jpg", in_turn(reply(503, b"", ("Retry-After", "1")), reply(200, PICTURE))
    )
    submitted = await bench.submit(slow)
    waiting = await bench.reached(submitted, lambda task: task.failures == 1)
    assert waiting.status is TaskStatus.PENDING
    assert waiting.next_attempt_at is not None
    task = await bench.ended(submitted)
    history = await read_history(bench.base.db, task.id)
    again = next(line.at for line in history if line.attempt == 2)
    assert again >= waiting.next_attempt_at
    assert (again - waiting.next_attempt_at).total_seconds() < 1


async def test_a_server_that_hangs_is_left_in_time(bench: WorkerBench) -> None:
    hanging = bench.pictures.serve("/hangs.jpg", in_turn(hang(), reply(404)))
    submitted = await bench.submit(hanging, bench.pictures.url("/beside-a-hanging-one.jpg"))
    waiting = await bench.reached(submitted, lambda task: task.failures == 1)
    assert [picture.is_final for picture in waiting.recognitions] == [False, True]
    task = await bench.ended(submitted)
    assert (task.status, codes(task)) == ("completed", ["image_http_status", None])


async def test_a_task_out_of_time_keeps_what_is_done(bench: WorkerBench) -> None:
    urls = [bench.pictures.serve(f"/late-{place}.jpg", hang()) for place in range(40)]
    # Eight at once from one host, half a second each: 40 take longer than the task may.
    task = await bench.ended(await bench.submit(bench.pictures.url("/in-time.jpg"), *urls, timeout_seconds=1))
    assert (task.status, task.attempt, task.images_completed) == ("completed", 1, 1)
    assert set(codes(task)) == {None, "image_fetch_timeout", "task_timeout"}
    late = await bench.ended(await bench.submit(*urls, timeout_seconds=1))
    assert (late.status, code(late), late.attempt) == ("failed", "attempts_exhausted", 1)


async def test_a_task_too_large_for_a_message_is_read_from_its_row(bench: WorkerBench) -> None:
    long = "&".join(f"camera={number}" for number in range(150))
    urls = [bench.pictures.url(f"/large-{place}.jpg?{long}") for place in range(10)]
    stored = await bench.store(*urls)
    await bench.base.plan.queues.recognition.pause()
    await bench.base.plan.enqueue_tasks([stored])
    async with bench.base.connections.guarded():
        message = await bench.base.connections.retrying.hget(
            bench.base.plan.queues.recognition.keys.message, str(stored.id)
        )
    assert message is None
    await bench.base.plan.queues.recognition.resume()
    task = await bench.ended(stored)
    assert (task.status, task.images_completed) == ("completed", 10)


async def test_a_message_that_cannot_be_read_is_as_good_as_none(bench: WorkerBench) -> None:
    queue = bench.base.plan.queues.recognition
    await queue.pause()
    beside, task = [await bench.submit(bench.pictures.url("/odd-message.jpg")) for _ in range(2)]
    async with bench.base.connections.guarded():
        await bench.base.connections.retrying.hset(queue.keys.message, str(task.id), '{"id": "of another"}')
    await queue.resume()
    for one in (beside, task):
        assert (await bench.ended(one)).status is TaskStatus.COMPLETED


async def test_each_picture_is_seen_by_its_own_model(bench: WorkerBench) -> None:
    shifts = (
        Shift(name="day", start=time(8), end=time(18), model="picture"),
        Shift(name="night", start=time(18), end=time(8), model="ssdlite"),
    )
    captured = [datetime(2026, 11, 22, hour, tzinfo=UTC) for hour in (8, 18)]
    models = [model_at(moment, shifts, "none") for moment in captured]
    url = bench.pictures.url("/models.jpg")
    task = await bench.ended(await bench.submit(url, url, models=models))
    assert [picture.model for picture in task.recognitions] == ["picture", "ssdlite"]
    assert [picture.status for picture in task.recognitions] == [RecognitionStatus.COMPLETED] * 2


async def test_a_model_that_is_not_installed_fails_its_picture_alone(bench: WorkerBench) -> None:
    url = bench.pictures.url("/unknown-model.jpg")
    submitted = await bench.submit(url, url, models=("picture", "removed"), timeout_seconds=30)
    waiting = await bench.reached(submitted, lambda task: task.failures > 0)
    assert [picture.is_final for picture in waiting.recognitions] == [True, False]
    await bench.cancel(waiting)
    assert (await bench.ended(submitted)).status in (TaskStatus.CANCELLED, TaskStatus.COMPLETED)


async def test_each_subscribed_event_is_told_with_what_is_known_by_then(bench: WorkerBench) -> None:
    gate = asyncio.Event()
    first, second = (
        bench.pictures.url("/first.jpg"),
        bench.pictures.serve("/second.jpg", gated(gate, reply(200, PICTURE))),
    )
    events = (EventType.STARTED, EventType.IMAGE, EventType.COMPLETED)
    submitted = await bench.submit(first, second, callback_events=tuple(map(str, events)))
    await until(lambda: bench.deliveries(submitted), lambda sent: len(sent) == 2)
    gate.set()
    await until(lambda: bench.deliveries(submitted), lambda sent: len(sent) == 4)

    async def told() -> dict[str, list[int]]:
        found: dict[str, list[int]] = {}
        for each in bench.receiver.received:
            if each.payload["data"]["id"] == str(submitted.id):
                found.setdefault(each.type, []).append(each.payload["data"]["images"]["completed"])
        return {kind: sorted(completed) for kind, completed in found.items()}

    await until(
        told, lambda found: found == {"task.started": [0], "task.image": [1, 2], "task.completed": [2]}
    )


async def test_nothing_is_left_in_the_queue(bench: WorkerBench) -> None:
    task = await bench.ended(await bench.submit(bench.pictures.url("/last.jpg")))
    await bench.delivery_ended(task)

    async def left() -> list[object]:
        stats = [await bench.stats(name) for name in QueueName]
        return [(one.waiting, one.leased, one.flows) for one in stats]

    await until(left, lambda found: found == [(0, 0, {})] * 3)
