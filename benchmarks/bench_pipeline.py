"""Pictures per second: the whole service against the bare recogniser on the same cores.

Theirs: one process per core loops the bundled recogniser over the decoded pictures, nothing else.
Ours: the same pictures submitted over HTTP, fetched on loopback, decoded, recognised by the same
number of processes with the same threads, recorded, and called back. Both see the same number of
pictures and find the same animals, which is checked. Run: python -m benchmarks.bench_pipeline
"""

from __future__ import annotations

import argparse
import asyncio
import io
import multiprocessing
import os
from collections.abc import Sequence
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Barrier
from pathlib import Path
from time import perf_counter

import httpx
import numpy as np
from PIL import Image

from benchmarks.report import Comparison, spread, where, write_section
from benchmarks.service import WEBHOOK_SECRET, running_service
from tests.support.http_servers import CallbackReceiver, ImageServer
from worker.recognisers.ssd import SsdRecogniser

PHOTOS = Path(__file__).resolve().parents[1] / "demo" / "photos"
EXPECTED = {"cows": 3, "sheep": 1}
PROMPTS = {"cows": "COW", "sheep": "SHEEP"}
CORES = os.cpu_count() or 1


def as_jpeg(name: str) -> bytes:
    """A demo photo as cameras send it."""
    encoded = io.BytesIO()
    Image.open(PHOTOS / f"{name}.webp").convert("RGB").save(encoded, "JPEG", quality=90)
    return encoded.getvalue()


def bare_loop(pictures: Sequence[bytes], rounds: int, gate: Barrier, results: Queue[int]) -> None:
    """Recognise decoded pictures again and again; one of the bare processes."""
    recogniser = SsdRecogniser({"threads": 1})
    recogniser.load()
    decoded = [np.asarray(Image.open(io.BytesIO(picture)).convert("RGB")) for picture in pictures]
    recogniser.recognise(decoded[0], "ALL", 0.4)
    gate.wait()
    found = 0
    for turn in range(rounds):
        name = list(EXPECTED)[turn % 2]
        found += len(recogniser.recognise(decoded[turn % 2], PROMPTS[name], 0.4))
    results.put(found)


def bare(pictures: Sequence[bytes], count: int) -> float:
    """Pictures per second of the recogniser alone, on all cores."""
    context = multiprocessing.get_context("spawn")
    gate = context.Barrier(CORES + 1)
    results: Queue[int] = context.Queue()
    rounds = count // CORES
    processes = [
        context.Process(target=bare_loop, args=(pictures, rounds, gate, results)) for _ in range(CORES)
    ]
    for process in processes:
        process.start()
    gate.wait()
    begun = perf_counter()
    found = sum(results.get(timeout=600) for _ in processes)
    spent = perf_counter() - begun
    for process in processes:
        process.join()
    expected = sum(EXPECTED.values()) * rounds // 2 * CORES
    if found != expected:
        raise SystemExit(f"the bare recogniser found {found} animals instead of {expected}")
    return rounds * CORES / spent


async def serviced(address: str, urls: dict[str, str], count: int) -> float:
    """Pictures per second of the whole service, from the first submission to the last callback."""
    async with CallbackReceiver(WEBHOOK_SECRET) as receiver:
        tasks = [_task(name, urls[name], receiver.url("/done")) for name in list(EXPECTED) * (count // 2)]
        begun = perf_counter()
        async with httpx.AsyncClient(base_url=address, trust_env=False, timeout=30) as client:
            for first in range(0, len(tasks), 50):
                answer = await client.post("/v1/tasks/batch", json={"items": tasks[first : first + 50]})
                answer.raise_for_status()
            await receiver.wait_for(len(tasks), limit_seconds=600)
        spent = perf_counter() - begun
        found = sum(each.payload["data"]["task_num"] for each in receiver.received)
    expected = sum(EXPECTED.values()) * count // 2
    if found != expected or not all(each.is_verified for each in receiver.received):
        raise SystemExit(f"the service found {found} animals instead of {expected}")
    return count / spent


def _task(name: str, url: str, callback_url: str) -> dict[str, object]:
    camera = {"camera_id": name, "image_url": url}
    return {
        "business_id": "bench",
        "system_code": "bench",
        "prompt": PROMPTS[name],
        "cameras": [camera],
        "callback_url": callback_url,
    }


async def compare(database: str, *, pairs: int, count: int, annotate: bool) -> Comparison:
    """Run both sides in turn on one database."""
    pictures = [as_jpeg(name) for name in EXPECTED]
    ours, theirs = [], []
    async with ImageServer() as images:
        urls = {
            name: images.add(f"/{name}.jpg", content)
            for name, content in zip(EXPECTED, pictures, strict=True)
        }
        settings = {"recognise_annotate": str(int(annotate)), "recognise_children": str(CORES)}
        async with running_service(database, **settings) as address:
            await serviced(address, urls, 2 * CORES)
            for _ in range(pairs):
                theirs.append(await asyncio.to_thread(bare, pictures, count))
                ours.append(await serviced(address, urls, count))
                print(f"{database}: bare {theirs[-1]:.2f}/s, service {ours[-1]:.2f}/s", flush=True)
    name = f"service with ssdlite, {database}, annotation {'on' if annotate else 'off'}"
    return Comparison(name=name, unit="pictures/s", ours=ours, theirs=theirs, reach=0.85)


def main() -> None:
    """Measure and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--pictures", type=int, default=200)
    parser.add_argument("--database", action="append", choices=["sqlite", "mariadb"])
    chosen = parser.parse_args()
    rows = []
    for database in chosen.database or ["sqlite", "mariadb"]:
        for annotate in (False, True):
            compared = asyncio.run(
                compare(database, pairs=chosen.pairs, count=chosen.pictures, annotate=annotate)
            )
            rows.append(compared.row())
            print(rows[-1], f"ratio {spread(compared.ratios, 2)}")
    table = ["| path | ours | bare recogniser | ratio | reach | |", "|---|---|---|---|---|---|", *rows]
    note = f"Median (min..max) of {chosen.pairs} pairs of {chosen.pictures} pictures; {where()}."
    write_section("Pictures through the whole service", [note, "", *table])


if __name__ == "__main__":
    main()
