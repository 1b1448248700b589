"""What one receiver does to others, and to itself: slots, breaker over processes, names that move."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path

from core.domain.delivery import DeliveryStatus
from core.domain.routing import QueueName, flow_of_host
from core.net import GuardedClient, NetSettings
from core.queue.lease import QueueStats
from core.store.delivery_log import DeliveryFilter, get_delivery, list_deliveries
from core.store.tables import delivery
from tests.support.behaviours import SeenRequest, Wire, reply
from tests.support.dns_server import DnsServer
from tests.support.http_servers import CallbackReceiver, LoopbackServer
from tests.support.receivers import black_hole, delivering, promise
from tests.support.valkey import PrivateValkey
from tests.support.worker_bench import SECRET, WorkerBench, gated, open_bench, until
from tests.support.worker_process import worker_process

PUBLIC, VICTIM = "127.0.0.2", "127.0.0.1"
RECEIVERS, EACH, SLOTS, PER_HOST = 50, 3, 12, 4
FOR_OTHERS = SLOTS - 2 * PER_HOST


async def sending_to(bench: WorkerBench, host: str) -> int:
    """Count the tries that are under way to a host."""
    wanted = DeliveryFilter(host=host, statuses=(DeliveryStatus.SENDING,))
    return len(await list_deliveries(bench.base.db, wanted, page_size=500))


class Crowd:
    """Receivers of which the first ones answer only when all slots left for them are taken at once."""

    def __init__(self) -> None:
        self.at_once = 0
        self._full = asyncio.Event()

    async def behave(self, request: SeenRequest, wire: Wire) -> None:
        self.at_once += 1
        if self.at_once == FOR_OTHERS:
            self._full.set()
        await self._full.wait()
        await reply(204)(request, wire)
        self.at_once -= 1


async def test_no_try_of_another_host_waits_for_a_slot_of_a_dead_or_a_slow_one(bench: WorkerBench) -> None:
    patient = NetSettings(allow_loopback=True, post_timeout_seconds=600, connect_timeout_seconds=600)
    crowd, never = Crowd(), asyncio.Event()
    async with AsyncExitStack() as stack:
        dead_port = stack.enter_context(black_hole())
        slow = await stack.enter_async_context(CallbackReceiver(SECRET))
        slow.replies.extend([gated(never, reply(204))] * 20)
        others = [await stack.enter_async_context(CallbackReceiver(SECRET)) for _ in range(RECEIVERS - 2)]
        for one in others:
            one.replies.extend([crowd.behave] * EACH)
        client = await stack.enter_async_context(GuardedClient(patient))
        bad = await promise(bench, f"http://dead.localhost:{dead_port}/", 10)
        bad += await promise(bench, slow.url("/", "slow.localhost"), 10)
        await bench.base.plan.enqueue_deliveries(bad)
        await stack.enter_async_context(delivering(bench, client, slots=SLOTS))
        for host in ("dead.localhost", "slow.localhost"):
            await until(partial(sending_to, bench, host), lambda count: count == PER_HOST)

        good = [sent for one in others for sent in await promise(bench, one.url("/"), EACH)]
        await bench.base.plan.enqueue_deliveries(good)
        for one in others:
            await one.wait_for(EACH, limit_seconds=60)

        assert not any(one.duplicates() for one in others)
        assert [await sending_to(bench, host) for host in ("dead.localhost", "slow.localhost")] == [
            PER_HOST
        ] * 2
        assert slow.most_at_once == len(slow.received) == PER_HOST
        after = [(await get_delivery(bench.base.db, sent.id))[0] for sent in bad]
        assert {sent.tries for sent in after} == {0}


async def test_failures_are_counted_over_two_processes(
    sqlite_url: str, valkey: PrivateValkey, tmp_path: Path
) -> None:
    changes = {"delivery": {"slots": 1, "schedule_seconds": (1000.0,), "breaker_seconds": 600.0}}
    pair = asyncio.Barrier(2)

    async def fail_in_pairs(request: SeenRequest, wire: Wire) -> None:
        await pair.wait()  # a process has one slot, so both processes are at it
        await reply(500)(request, wire)

    async with AsyncExitStack() as stack:
        bench = await stack.enter_async_context(open_bench(sqlite_url, valkey, tmp_path, changes))
        receiver = await stack.enter_async_context(CallbackReceiver(SECRET))
        receiver.replies.extend([fail_in_pairs] * 8)
        sent = await promise(bench, receiver.url("/"), 8)
        for _ in range(2):
            await stack.enter_async_context(worker_process(bench.settings))
        await bench.base.plan.enqueue_deliveries(sent)
        flow = flow_of_host(f"127.0.0.1:{receiver.port}")

        def is_left_alone(stats: QueueStats) -> bool:
            held = flow in stats.flows and stats.flows[flow].held_until_ms is not None
            return held and (stats.parked, stats.leased) == (2, 0)

        await until(lambda: bench.stats(QueueName.DELIVERY), is_left_alone)

        # Each process saw three failures. The fifth in a row, whoever saw it, was enough.
        assert len(receiver.received) == 6
        async with bench.base.db.read() as connection:
            rows = (await connection.execute(delivery.select())).all()
        assert Counter(row.worker_id for row in rows if row.tries).most_common()[-1][1] == 3
        assert sorted(row.tries for row in rows) == [0, 0, 1, 1, 1, 1, 1, 1]


async def test_a_name_that_leads_to_a_private_address_on_a_later_try_is_dead_at_once(
    bench: WorkerBench,
) -> None:
    async with AsyncExitStack() as stack:
        public = await stack.enter_async_context(CallbackReceiver(SECRET, host=PUBLIC))
        victim = await stack.enter_async_context(LoopbackServer(VICTIM, public.port))
        dns = await stack.enter_async_context(DnsServer())
        rules = NetSettings(allow_networks=(f"{PUBLIC}/32",), allowed_ports=frozenset({public.port}))
        client = await stack.enter_async_context(GuardedClient(rules, resolver=dns.resolver()))
        dns.zone["rebind.test"] = [PUBLIC]

        async def move_and_fail(request: SeenRequest, wire: Wire) -> None:
            dns.zone["rebind.test"] = [VICTIM]
            await reply(500)(request, wire)  # the connection is kept

        public.replies.append(move_and_fail)
        (sent,) = await promise(bench, f"http://rebind.test:{public.port}/hook")
        await bench.base.plan.enqueue_deliveries([sent])
        await stack.enter_async_context(delivering(bench, client, schedule_seconds=(0.05, 1000.0)))
        after, tries = await until(
            lambda: get_delivery(bench.base.db, sent.id), lambda found: found[0].status.is_final
        )

    assert (after.status, after.error_code) == (DeliveryStatus.DEAD, "callback_blocked_address")
    assert [one.error_code for one in tries] == ["callback_http_status", "callback_blocked_address"]
    assert (len(public.received), victim.accepted) == (1, 0)
