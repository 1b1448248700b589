"""Crash point 27: the disk has no room for another task."""

from __future__ import annotations

from pathlib import Path

import httpx

from tests.support.crash_bench import CrashBench, Outcome, crash_bench
from tests.support.crash_web import WebProcess, web_process
from tests.support.small_disk import small_disk
from tests.support.worker_process import worker_process

ENOUGH = 500


async def test_27_a_full_disk_refuses_new_tasks_and_keeps_those_that_were_accepted(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk") as disk:
        url = f"sqlite+aiosqlite:///{disk.folder / 'muster.db'}"
        async with crash_bench(url, tmp_path) as bench, web_process(bench.settings) as web:
            assert (await web.submit(bench.body())).status_code == 202
            disk.fill(web.process.pid)
            key, refused = await _until_refused(bench, web)
            assert (refused.status_code, refused.json()["code"]) == (503, "database_unavailable")
            assert int(refused.headers["Retry-After"]) > 0
            kept = await bench.tasks()
            assert (await web.get(f"/v1/tasks/{kept[-1].id}")).status_code == 200

            disk.free(web.process.pid)
            answer = await web.submit(bench.body(), key=key)
            assert (answer.status_code, "Idempotent-Replayed" in answer.headers) == (202, False)
            tasks = await bench.tasks()
            assert {task.id for task in tasks} == {task.id for task in kept} | {int(answer.json()["id"])}
            async with worker_process(bench.settings):
                for task in tasks:
                    await bench.converged(task, Outcome())


async def _until_refused(bench: CrashBench, web: WebProcess) -> tuple[str, httpx.Response]:
    """Submit until there is no room; SQLite first uses up what its files have left."""
    for number in range(ENOUGH):
        answer = await web.submit(bench.body(), key=f"key-{number}")
        if answer.status_code != 202:
            return f"key-{number}", answer
    raise AssertionError("it was never refused")
