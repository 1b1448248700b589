"""Callback latency of healthy receivers beside a dead and a slow one.

Tasks come at a steady rate and are called back to 50 receivers in turn. On one side all of them are
healthy; on the other one of them is off (its connections are never made) and one answers after 30 s.
Measured is the time from a task's end (`completed_at`, the database's clock) to the arrival of its
callback, at the 48 receivers that are healthy on both sides. Both sides run in turn, every round on a
fresh service, so that no breaker has learnt anything yet. Run: python -m benchmarks.bench_receivers
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from datetime import datetime

import httpx

from benchmarks.bench_pickup import percentile
from benchmarks.report import spread, where, write_section
from benchmarks.service import running_service
from tests.support.behaviours import SeenRequest, Wire
from tests.support.http_servers import CallbackReceiver, ImageServer
from tests.support.receivers import black_hole

RECEIVERS, BAD = 50, 2
HEALTHY = RECEIVERS - BAD
SLOW_SECONDS = 30.0
REACH = 1.2
WARM_UP_EACH = 2
PATIENCE_SECONDS = 60.0


class Timed(CallbackReceiver):
    """A healthy receiver that notes how long after its task's end each callback came."""

    def __init__(self) -> None:
        super().__init__()
        self.latencies_ms: list[float] = []

    async def answer(self, request: SeenRequest, wire: Wire) -> None:
        """Note the time, then reply."""
        came_at = time.time()
        ended_at = datetime.fromisoformat(json.loads(request.body)["data"]["completed_at"])
        self.latencies_ms.append((came_at - ended_at.timestamp()) * 1000)
        await super().answer(request, wire)


class Slow(CallbackReceiver):
    """A receiver that takes longer to answer than anybody waits."""

    async def answer(self, request: SeenRequest, wire: Wire) -> None:
        """Reply late."""
        await asyncio.sleep(SLOW_SECONDS)
        await super().answer(request, wire)


async def latencies(database: str, *, has_bad_ones: bool, rate: float, seconds: float) -> list[float]:
    """Milliseconds from end to arrival of every callback to a healthy receiver, in one round."""
    async with AsyncExitStack() as stack:
        images = await stack.enter_async_context(ImageServer())
        healthy = [await stack.enter_async_context(Timed()) for _ in range(HEALTHY)]
        urls = [receiver.url("/hook") for receiver in healthy]
        if has_bad_ones:
            slow = await stack.enter_async_context(Slow())
            bad = [slow.url("/hook"), f"http://127.0.0.1:{stack.enter_context(black_hole())}/hook"]
        else:
            bad = [(await stack.enter_async_context(Timed())).url("/hook") for _ in range(BAD)]
        service = running_service(database, recognise_children="1", recognise_annotate="0")
        address = await stack.enter_async_context(service)
        client = await stack.enter_async_context(httpx.AsyncClient(base_url=address, trust_env=False))
        picture = images.url("/missing.jpg")  # a 404 ends the task at once: what is measured comes after
        await _submit(client, picture, urls, count=WARM_UP_EACH * HEALTHY, rate=rate)
        await _arrived(healthy, WARM_UP_EACH)
        for receiver in healthy:
            receiver.latencies_ms.clear()
        turns = int(rate * seconds) // RECEIVERS
        await _submit(client, picture, bad + urls, count=turns * RECEIVERS, rate=rate)
        await _arrived(healthy, WARM_UP_EACH + turns)
        return [latency for receiver in healthy for latency in receiver.latencies_ms]


async def _submit(
    client: httpx.AsyncClient, picture: str, urls: Sequence[str], *, count: int, rate: float
) -> None:
    """Submit tasks at a steady rate, whatever the service does."""
    begun = time.monotonic()
    async with asyncio.TaskGroup() as group:
        for number in range(count):
            await asyncio.sleep(begun + number / rate - time.monotonic())
            body = _task(picture, urls[number % len(urls)])
            group.create_task(_accepted(client, body))


async def _accepted(client: httpx.AsyncClient, body: dict[str, object]) -> None:
    (await client.post("/v1/tasks", json=body)).raise_for_status()


def _task(picture: str, callback_url: str) -> dict[str, object]:
    camera = {"camera_id": "gate", "image_url": picture}
    named = {"business_id": "bench", "system_code": "bench", "prompt": "ALL"}
    return {**named, "cameras": [camera], "callback_url": callback_url}


async def _arrived(healthy: Sequence[Timed], each: int) -> None:
    for receiver in healthy:
        await receiver.wait_for(each, limit_seconds=PATIENCE_SECONDS)


def main() -> None:
    """Measure and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--rate", type=float, default=40.0)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--database", choices=["sqlite", "mariadb"], default="sqlite")
    chosen = parser.parse_args()
    p50s: list[list[float]] = [[], []]
    p99s: list[list[float]] = [[], []]
    for _ in range(chosen.pairs):
        for side in (0, 1):
            found = asyncio.run(
                latencies(chosen.database, has_bad_ones=bool(side), rate=chosen.rate, seconds=chosen.seconds)
            )
            p50s[side].append(percentile(found, 0.5))
            p99s[side].append(percentile(found, 0.99))
            print(f"bad ones: {side * BAD}, {len(found)} callbacks, p99 {p99s[side][-1]:.1f} ms", flush=True)
    _report(chosen, p50s, p99s)


def _report(chosen: argparse.Namespace, p50s: list[list[float]], p99s: list[list[float]]) -> None:
    ratios = [beside / alone for alone, beside in zip(*p99s, strict=True)]
    verdict = "reached" if statistics.median(ratios) <= REACH else "**missed**"
    rows = [
        f"| all {RECEIVERS} healthy | {spread(p50s[0])} ms | {spread(p99s[0])} ms | | | |",
        f"| one dead, one answers after {SLOW_SECONDS:g} s | {spread(p50s[1])} ms | {spread(p99s[1])} ms "
        f"| {spread(ratios, 2)} | {REACH:g} | {verdict} |",
    ]
    note = (
        f"From a task's end to its callback at {HEALTHY} healthy receivers; median (min..max) of "
        f"{chosen.pairs} pairs of rounds of {chosen.seconds:g} s at {chosen.rate:g} tasks/s, "
        f"{chosen.database}; {where()}."
    )
    table = ["| receivers | p50 | p99 | p99 ratio | reach (at most) | |", "|---|---|---|---|---|---|", *rows]
    hint = (
        "What the p99 varies by from round to round with all receivers healthy is the service's own at this "
        "rate; the p50 of both sides says more about what the bad ones add."
    )
    write_section("Callbacks beside a dead and a slow receiver", [note, "", *table, "", hint])


if __name__ == "__main__":
    main()
