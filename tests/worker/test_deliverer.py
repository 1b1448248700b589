"""Callbacks by a whole worker: schedule, endings, breaker, and what a slow receiver holds up."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from time import monotonic
from urllib.parse import urlsplit

import pytest
import pytest_asyncio

from core.domain.delivery import DeliveryStatus
from core.domain.routing import QueueName, flow_of_host
from core.domain.task import TaskStatus
from core.store.delivery_log import LoggedTry
from tests.support.behaviours import redirect, reply
from tests.support.http_servers import CallbackReceiver
from tests.support.valkey import PrivateValkey
from tests.support.worker_bench import SECRET, WorkerBench, gated, open_bench, running_worker, until

pytestmark = pytest.mark.asyncio(loop_scope="module")

SCHEDULE = (0.2, 0.4, 0.6)
ENVELOPE_FAILURE = b'{"code": 500, "message": "not stored", "data": null, "success": false}'


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def bench(
    valkey: PrivateValkey, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[WorkerBench]:
    """Run one worker for the whole module."""
    folder = tmp_path_factory.mktemp("deliverer")
    url = f"sqlite+aiosqlite:///{folder / 'muster.db'}"
    # Every test has one failing host, 127.0.0.1, so its breaker must not trip here.
    changes = {"delivery": {"schedule_seconds": SCHEDULE, "breaker_failures": 1000, "timeout_seconds": 5.0}}
    async with AsyncExitStack() as stack:
        opened = await stack.enter_async_context(open_bench(url, valkey, folder, changes))
        await stack.enter_async_context(running_worker(opened.settings))
        yield opened


def gaps(tries: list[LoggedTry]) -> list[float]:
    at: list[datetime] = [one.at for one in tries]
    return [(later - earlier).total_seconds() for earlier, later in pairwise(at)]


async def test_a_receiver_that_fails_once_gets_the_same_bytes_again(bench: WorkerBench) -> None:
    async with CallbackReceiver(SECRET) as receiver:
        receiver.replies.append(reply(500, b"busy"))
        task = await bench.submit(bench.pictures.url("/again.jpg"), callback_url=receiver.url("/"))
        sent, tries = await bench.delivery_ended(task)
        first, second = receiver.received
    assert (sent.status, sent.tries, sent.error_code) == (DeliveryStatus.DELIVERED, 2, None)
    assert [(one.status_code, one.reply) for one in tries] == [(500, "busy"), (204, None)]
    assert (first.webhook_id, first.body) == (second.webhook_id, second.body) == (str(sent.id), sent.body)
    assert first.is_verified
    assert second.is_verified
    assert 0.18 <= gaps(tries)[0] < 2


async def test_a_delivery_is_dead_after_its_schedule(bench: WorkerBench) -> None:
    async with CallbackReceiver(SECRET) as receiver:
        receiver.replies.extend([reply(500)] * 9)
        task = await bench.submit(bench.pictures.url("/dead.jpg"), callback_url=receiver.url("/"))
        sent, tries = await bench.delivery_ended(task)
    assert (sent.status, sent.tries, sent.error_code) == (DeliveryStatus.DEAD, 4, "callback_http_status")
    assert all(gap >= planned * 0.9 for gap, planned in zip(gaps(tries), SCHEDULE, strict=True))
    assert (await bench.reload(task)).status is TaskStatus.COMPLETED


async def test_gone_is_refused_at_once(bench: WorkerBench) -> None:
    async with CallbackReceiver(SECRET) as receiver:
        receiver.replies.append(reply(410))
        task = await bench.submit(bench.pictures.url("/refused.jpg"), callback_url=receiver.url("/"))
        sent, tries = await bench.delivery_ended(task)
    assert (sent.status, len(tries), tries[0].error_code) == (DeliveryStatus.REFUSED, 1, "callback_gone")


async def test_an_envelope_that_tells_of_failure_and_a_redirect_are_tried_again(bench: WorkerBench) -> None:
    async with CallbackReceiver(SECRET) as receiver:
        receiver.replies.extend([reply(200, ENVELOPE_FAILURE), redirect(receiver.url("/elsewhere"))])
        task = await bench.submit(bench.pictures.url("/envelope.jpg"), callback_url=receiver.url("/"))
        sent, tries = await bench.delivery_ended(task)
        assert {request.path for request in receiver.requests} == {"/"}
    assert [(one.status_code, one.error_code) for one in tries] == [
        (200, "callback_not_accepted"),
        (302, "callback_http_status"),
        (204, None),
    ]
    assert sent.status is DeliveryStatus.DELIVERED


async def test_a_receiver_that_asks_for_patience_gets_it(bench: WorkerBench) -> None:
    async with CallbackReceiver(SECRET) as receiver:
        receiver.replies.append(reply(503, b"", ("Retry-After", "1")))
        task = await bench.submit(bench.pictures.url("/patient.jpg"), callback_url=receiver.url("/"))
        _, tries = await bench.delivery_ended(task)
    assert 1.0 <= gaps(tries)[0] < 3


async def test_a_receiver_that_is_not_there_costs_nothing_but_tries(bench: WorkerBench) -> None:
    async with CallbackReceiver() as gone:
        url = gone.url("/")
    task = await bench.submit(bench.pictures.url("/nobody.jpg"), callback_url=url)
    sent, tries = await bench.delivery_ended(task)
    assert (sent.status, {one.error_code for one in tries}) == (DeliveryStatus.DEAD, {"callback_failed"})


async def test_a_slow_receiver_holds_up_neither_recognition_nor_another_receiver(bench: WorkerBench) -> None:
    gate = asyncio.Event()
    async with CallbackReceiver(SECRET) as slow:
        slow.replies.extend([gated(gate, reply(204))] * 20)
        stuck = [
            await bench.submit(
                bench.pictures.url("/slow.jpg"),
                callback_url=slow.url("/").replace("127.0.0.1", "slow.localhost"),
            )
            for _ in range(12)
        ]
        await slow.wait_for(4)
        for task in stuck:
            assert (await bench.ended(task)).status is TaskStatus.COMPLETED
        begun = monotonic()
        quick = await bench.submit(bench.pictures.url("/quick.jpg"))
        await bench.delivery_ended(quick)
        assert monotonic() - begun < 2
        assert slow.most_at_once == len(slow.received) == 4
        gate.set()
        for task in stuck:
            assert (await bench.delivery_ended(task))[0].status is DeliveryStatus.DELIVERED
        assert slow.most_at_once <= 4


async def test_a_delivery_that_another_change_has_ended_is_not_sent(bench: WorkerBench) -> None:
    task = await bench.ended(await bench.submit(bench.pictures.url("/once.jpg")))
    sent, _ = await bench.delivery_ended(task)
    known = len(bench.receiver.received)
    await bench.base.plan.enqueue_deliveries([sent])
    await until(lambda: bench.stats(QueueName.DELIVERY), lambda stats: stats.waiting + stats.leased == 0)
    assert len(bench.receiver.received) == known


async def test_an_address_that_may_not_be_called_is_dead_at_once(tmp_path: Path) -> None:
    url = f"sqlite+aiosqlite:///{tmp_path / 'muster.db'}"
    changes = {"embedded": False}
    with PrivateValkey() as own:
        async with open_bench(url, own, tmp_path, changes) as strict, running_worker(strict.settings):
            task = await strict.submit("http://127.0.0.1/picture.jpg", callback_url="http://127.0.0.1/hook")
            ended = await strict.ended(task)
            assert [picture.error.code for picture in ended.recognitions if picture.error] == [
                "image_blocked_address"
            ]
            sent, tries = await strict.delivery_ended(task)
            assert (sent.status, len(tries)) == (DeliveryStatus.DEAD, 1)
            assert tries[0].error_code == "callback_blocked_address"


async def test_a_host_that_fails_in_a_row_is_left_alone_and_comes_back(tmp_path: Path) -> None:
    url = f"sqlite+aiosqlite:///{tmp_path / 'muster.db'}"
    changes = {"delivery": {"schedule_seconds": (0.05,) * 60, "breaker_failures": 3, "breaker_seconds": 1.0}}
    with PrivateValkey() as own:
        async with (
            open_bench(url, own, tmp_path, changes) as bench,
            CallbackReceiver(SECRET) as receiver,
            running_worker(bench.settings),
        ):
            receiver.replies.extend([reply(500)] * 3)
            bad = receiver.url("/").replace("127.0.0.1", "bad.localhost")
            task = await bench.submit(bench.pictures.url("/breaker.jpg"), callback_url=bad)
            await receiver.wait_for(3)
            flow = flow_of_host(urlsplit(bad).netloc)
            await until(
                lambda: bench.stats(QueueName.DELIVERY),
                lambda stats: flow in stats.flows and stats.flows[flow].held_until_ms is not None,
            )
            others = [
                await bench.submit(bench.pictures.url("/breaker.jpg"), callback_url=bad) for _ in range(3)
            ]
            for one in others:
                await bench.ended(one)
            good = await bench.submit(bench.pictures.url("/good-host.jpg"))
            assert (await bench.delivery_ended(good))[0].status is DeliveryStatus.DELIVERED
            sent, tries = await bench.delivery_ended(task)
            assert (sent.status, len(tries)) == (DeliveryStatus.DELIVERED, 4)
            assert gaps(tries)[-1] >= 0.95
            for one in others:
                sent, tries = await bench.delivery_ended(one)
                assert (sent.status, len(tries)) == (DeliveryStatus.DELIVERED, 1)
            stats = await until(
                lambda: bench.stats(QueueName.DELIVERY), lambda stats: flow not in stats.flows
            )
            assert stats.parked == 0
