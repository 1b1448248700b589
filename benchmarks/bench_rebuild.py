"""Rebuild: how soon a whole plan is back after Redis was emptied, while work is claimed from it.

Waiting tasks are put into the database by statements of its own, Redis is empty, and one process
rebuilds as a worker's heartbeat does, while another connection claims and settles as workers do.
Each size is measured in a process of its own, so that its memory is its own too.
Run: python -m benchmarks.bench_rebuild
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
import resource
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

from benchmarks.report import spread, where, write_section
from benchmarks.service import ROOT
from core.domain.routing import QueueName
from core.domain.task import TaskStatus
from core.foundation import Foundation
from core.queue.lease import Outcome, Settlement
from core.settings import load_settings
from core.store import migrate
from tests.support.filling import Filling, fill
from tests.support.servers import PrivateMariadb
from tests.support.valkey import PrivateValkey

REACH_SECONDS = {10_000: 5.0, 100_000: 20.0}
NOTICE_SECONDS = 1.3
"""The heartbeat comes once a second with 30 % of jitter: a lost plan is noticed no later."""
_KIB = 1024


@asynccontextmanager
async def installation(database: str) -> AsyncIterator[Foundation]:
    """Open a migrated, empty installation on servers of its own."""
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="muster-bench-")))
        valkey = stack.enter_context(PrivateValkey(durable=True))
        url = f"sqlite+aiosqlite:///{folder}/muster.db"
        if database == "mariadb":
            url = await stack.enter_context(PrivateMariadb(durable=True)).create_database()
        settings = load_settings(
            embedded=True,
            secret_key=base64.b64encode(b"benchmark-secret-of-32-bytes-len").decode(),
            database={"url": url},
            redis={"url": valkey.url},
            media={"dir": folder / "media"},
        )
        await migrate.upgrade(settings.database)
        yield await stack.enter_async_context(Foundation.open(settings))


async def claim_until(base: Foundation, done: asyncio.Event) -> int:
    """Claim and settle, ten at a time, until told to stop; answers how many."""
    queue, token, claimed = base.plan.queues.recognition, "bench", 0
    while not done.is_set():
        leases = (await queue.claim(token, 15_000, 10)).leases
        settled = [Settlement(member=one.member, token=token, outcome=Outcome.ACK) for one in leases]
        await queue.settle(settled)
        claimed += len(leases)
        await asyncio.sleep(0.005)
    return claimed


async def measure(database: str, size: int) -> dict[str, Any]:
    """Fill, rebuild while claiming, and check that nothing is missing."""
    async with installation(database) as base:
        await fill(base.db, Filling(count=size, status=TaskStatus.PENDING, oldest_seconds=size))
        before_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        done = asyncio.Event()
        claiming = asyncio.create_task(claim_until(base, done))
        begun = perf_counter()
        found = await base.plan.rebuild()
        seconds = perf_counter() - begun
        done.set()
        claimed = await claiming
        stats = await base.inspector(QueueName.RECOGNITION).stats()
        if found.tasks != size or stats.waiting + claimed != size:
            raise SystemExit(f"{found.tasks} put back, {stats.waiting} waiting, {claimed} claimed of {size}")
        after_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return {"seconds": seconds, "claimed": claimed, "before": before_kib, "after": after_kib}


def in_a_process(database: str, size: int) -> dict[str, Any]:
    """Measure in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.bench_rebuild", "--one", database, str(size)]
    done = subprocess.run(command, cwd=ROOT, check=True, timeout=600, stdout=subprocess.PIPE)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def row(database: str, size: int, rounds: int) -> str:
    """One row of the table."""
    found = [in_a_process(database, size) for _ in range(rounds)]
    seconds = [NOTICE_SECONDS + one["seconds"] for one in found]
    before, after = (spread([one[name] / _KIB for one in found], 0) for name in ("before", "after"))
    reach = REACH_SECONDS[size]
    verdict = "reached" if max(seconds) <= reach else "**missed**"
    claimed = spread([one["claimed"] for one in found], 0)
    return (
        f"| {database} | {size:,} | {spread(seconds)} s | {claimed} | {before} MiB | {after} MiB "
        f"| {reach:g} s | {verdict} |"
    )


def main() -> None:
    """Measure and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--one", nargs=2, metavar=("DATABASE", "SIZE"), help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.one:
        print(json.dumps(asyncio.run(measure(chosen.one[0], int(chosen.one[1])))))
        return
    rows = []
    for database in ("sqlite", "mariadb"):
        for size in REACH_SECONDS:
            rows.append(row(database, size, chosen.rounds))
            print(rows[-1], flush=True)
    heading = "| database | waiting | back within | claimed meanwhile | peak before | peak after | reach | |"
    note = (
        f"Median (min..max) of {chosen.rounds} rounds; {where()}. Back within = the {NOTICE_SECONDS:g} s "
        "after which the loss is noticed at the latest, and the rebuild, beside which another task claims "
        "and settles without a pause. Memory is the peak of the rebuilding process before and after."
    )
    write_section("Redis emptied", [note, "", heading, "|---|---|---|---|---|---|---|---|", *rows])


if __name__ == "__main__":
    main()
