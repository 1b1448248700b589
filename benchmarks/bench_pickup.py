"""Pick-up: from acceptance to the start of the attempt, with an idle worker.

Tasks come one at a time to an idle service; both times are the database's own (`created_at`, taken
when the submission's transaction begins, and `started_at`), so commit, queue, wake-up, claim and
start are all in it. Run: python -m benchmarks.bench_pickup
"""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Sequence
from datetime import datetime

import httpx

from benchmarks.report import spread, where, write_section
from benchmarks.service import running_service
from tests.support.http_servers import ImageServer

REACH_MS = 10.0


async def pickups(database: str, count: int) -> list[float]:
    """Milliseconds from acceptance to start of `count` tasks, one after the other."""
    waits = []
    async with ImageServer() as images, running_service(database) as address:
        # A 404 ends the task at once: what is measured is its beginning.
        body = _body(images.url("/missing.jpg"))
        async with httpx.AsyncClient(base_url=address, trust_env=False, timeout=30) as client:
            for turn in range(count + 10):
                answer = await client.post("/v1/tasks", json=body, headers={"Prefer": "wait=10"})
                task = answer.raise_for_status().json()
                if turn >= 10:
                    waits.append(_milliseconds(task["created_at"], task["started_at"]))
    return waits


def _body(url: str) -> dict[str, object]:
    camera = {"camera_id": "idle", "image_url": url}
    return {"business_id": "bench", "system_code": "bench", "prompt": "ALL", "cameras": [camera]}


def _milliseconds(begun: str, ended: str) -> float:
    return (datetime.fromisoformat(ended) - datetime.fromisoformat(begun)).total_seconds() * 1000


def percentile(figures: Sequence[float], share: float) -> float:
    """The figure below which `share` of them lie."""
    return sorted(figures)[min(len(figures) - 1, int(len(figures) * share))]


def main() -> None:
    """Measure and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--tasks", type=int, default=100)
    chosen = parser.parse_args()
    rows = []
    for database in ("sqlite", "mariadb"):
        rounds = [asyncio.run(pickups(database, chosen.tasks)) for _ in range(chosen.rounds)]
        p50, p99 = ([percentile(waits, share) for waits in rounds] for share in (0.5, 0.99))
        middle = percentile(p50, 0.5)
        verdict = "reached" if middle < REACH_MS else "**missed**"
        rows.append(f"| {database} | {spread(p50)} ms | {spread(p99)} ms | {REACH_MS:g} ms | {verdict} |")
        print(rows[-1], flush=True)
    note = f"Median (min..max) of {chosen.rounds} rounds of {chosen.tasks} tasks; {where()}."
    table = ["| database | p50 | p99 | reach (p50) | |", "|---|---|---|---|---|", *rows]
    write_section("Pick-up by an idle worker", [note, "", *table])


if __name__ == "__main__":
    main()
