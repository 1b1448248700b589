"""A worker's claiming loop outlives its Valkey."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from core.domain.routing import Member
from core.errors import QueueUnavailable
from core.queue.connections import RedisConnections, RedisSettings
from core.queue.lease import Entry, Outcome, Settlement
from core.queue.queue import TaskQueue
from tests.support.valkey import PrivateValkey

BACK_WITHIN_SECONDS = 5
MINE = "mine"


def entry(number: int) -> Entry:
    return Entry(member=Member(id=number, attempt=1, priority=5, cost=1, flow="farm"), message="{}")


@asynccontextmanager
async def queue_on(server: PrivateValkey) -> AsyncIterator[TaskQueue]:
    connections = RedisConnections(RedisSettings(url=server.url, timeout_seconds=1.0, block_seconds=1.0))
    try:
        yield TaskQueue(connections, "recognition")
    finally:
        await connections.close()


async def claim_for_ever(queue: TaskQueue, taken: asyncio.Queue[int]) -> None:
    """Do what a leaser does: claim, settle, wait for a token; when Redis is away, try again."""
    while True:
        try:
            claim = await queue.claim(MINE, 15_000, 10)
            done = [Settlement(member=a.member, token=MINE, outcome=Outcome.ACK) for a in claim.leases]
            await queue.settle(done)
            for lease in claim.leases:
                taken.put_nowait(lease.member.id)
            if not claim.leases:
                await queue.wait(1.0)
        except QueueUnavailable:
            await asyncio.sleep(0.05)


async def enqueue_until_accepted(queue: TaskQueue, one: Entry) -> None:
    while True:
        try:
            await queue.enqueue([one])
        except QueueUnavailable:
            await asyncio.sleep(0.05)
        else:
            return


async def test_a_claiming_loop_goes_on_after_its_server_was_killed_and_started_again() -> None:
    with PrivateValkey(durable=True) as server:
        async with queue_on(server) as queue:
            taken: asyncio.Queue[int] = asyncio.Queue()
            loop = asyncio.create_task(claim_for_ever(queue, taken))
            await queue.enqueue([entry(1)])
            assert await asyncio.wait_for(taken.get(), 5) == 1
            for number in (2, 3):
                await asyncio.to_thread(server.kill)
                started = time.monotonic()
                await asyncio.to_thread(server.start)
                async with asyncio.timeout(BACK_WITHIN_SECONDS):
                    await enqueue_until_accepted(queue, entry(number))
                    assert await taken.get() == number
                assert time.monotonic() - started < BACK_WITHIN_SECONDS
            assert not loop.done()
            loop.cancel()
            await asyncio.wait({loop})


async def test_a_loop_that_waits_while_its_server_is_frozen_goes_on_after_it() -> None:
    with PrivateValkey() as server:
        async with queue_on(server) as queue:
            taken: asyncio.Queue[int] = asyncio.Queue()
            loop = asyncio.create_task(claim_for_ever(queue, taken))
            server.freeze()
            await asyncio.wait({loop}, timeout=1.5)  # longer than one command may take
            server.thaw()
            async with asyncio.timeout(BACK_WITHIN_SECONDS):
                await enqueue_until_accepted(queue, entry(1))
                assert await taken.get() == 1
            loop.cancel()
            await asyncio.wait({loop})


async def test_what_was_waiting_is_still_there_after_a_crash() -> None:
    with PrivateValkey(durable=True) as server:
        async with queue_on(server) as queue:
            await queue.enqueue([entry(number) for number in range(1, 101)])
            await queue.claim(MINE, 60_000, 10)
            assert await queue.connections.retrying.waitaof(1, 0, 5000) == [1, 0]
            await asyncio.to_thread(server.kill)
            await asyncio.to_thread(server.start)
            claim = await queue.claim(MINE, 60_000, 200)
            assert [lease.member.id for lease in claim.leases] == list(range(11, 101))
            assert claim.leases[0].message == "{}"


async def test_a_claim_whose_reply_was_lost_is_not_repeated() -> None:
    with PrivateValkey() as server:
        async with queue_on(server) as queue:
            await queue.enqueue([entry(number) for number in range(1, 11)])
            await queue.claim(MINE, 60_000, 0)
            server.freeze()
            lost = asyncio.create_task(queue.claim(MINE, 60_000, 1))
            await asyncio.wait({lost}, timeout=5)
            server.thaw()
            assert isinstance(lost.exception(), QueueUnavailable)
            claim = await queue.claim("next", 60_000, 20)
            assert len(claim.leases) >= 9


@pytest.mark.parametrize("steps", range(40))
async def test_a_cancelled_call_ends_as_cancelled(queue: TaskQueue, steps: int) -> None:
    await queue.claim(MINE, 1000, 0)  # so that the script is known and a connection is open
    for call in (queue.claim(MINE, 1000, 0), queue.wait(0.5), queue.extend(1, [(entry(1).member, MINE)])):
        task = asyncio.ensure_future(call)
        for _ in range(steps):
            await asyncio.sleep(0)
        was_running = task.cancel()
        await asyncio.wait({task})
        assert task.cancelled() == was_running
