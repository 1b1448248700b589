"""Crash points 1 to 3 and 18: a web process dies between two steps of a request."""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

from core.domain.routing import QueueName
from tests.support.crash_bench import CrashBench, Outcome, crash_bench, died_at, repaired
from tests.support.crash_web import WebProcess, web_process
from tests.support.worker_process import worker_process

KEY = "one-key"


@asynccontextmanager
async def doomed_web(bench: CrashBench, point: str) -> AsyncIterator[WebProcess]:
    """Start a web process that will die at a point; its caller hears nothing."""
    async with web_process(bench.settings, MUSTER_TEST_POINT=point) as web:
        yield web
        await died_at(web.process, point)


async def _dies_at(bench: CrashBench, point: str) -> None:
    """Submit a task under a key to a web process that dies before it can answer."""
    async with doomed_web(bench, point) as web:
        with pytest.raises(httpx.TransportError):
            await web.submit(bench.body(), key=KEY)


async def test_1_before_the_commit_nothing_is_there_and_the_callers_retry_is_the_first(
    sqlite_url: str, tmp_path: Path
) -> None:
    async with crash_bench(sqlite_url, tmp_path) as bench:
        await _dies_at(bench, "submission.written")
        assert await bench.tasks() == []
        async with web_process(bench.settings) as web, worker_process(bench.settings):
            answer = await web.submit(bench.body(), key=KEY)
            assert answer.status_code == 202
            assert "Idempotent-Replayed" not in answer.headers
            await bench.converged(await bench.only_task(), Outcome())


@pytest.mark.parametrize("point", ["submission.committed", "submission.queued"])
async def test_2_after_the_commit_the_same_key_gives_the_same_task(
    sqlite_url: str, tmp_path: Path, point: str
) -> None:
    async with crash_bench(sqlite_url, tmp_path) as bench:
        await _dies_at(bench, point)
        task = await bench.only_task()
        async with web_process(bench.settings) as web:
            again = [await web.submit(bench.body(), key=KEY) for _ in range(2)]
            assert {each.status_code for each in again} == {200}
            assert {each.headers["Idempotent-Replayed"] for each in again} == {"true"}
            assert {each.json()["id"] for each in again} == {str(task.id)}
            other_body = await web.submit(bench.body("/other.jpg"), key=KEY)
            assert (other_body.status_code, other_body.json()["code"]) == (422, "idempotency_key_reused")
            async with worker_process(bench.settings) as worker:
                await bench.converged(task, Outcome())
                if point == "submission.committed":
                    assert await repaired(worker, "plan.swept") == 1
        assert len(await bench.tasks()) == 1


async def test_2_an_answer_that_was_sent_holds_though_the_process_is_killed(
    sqlite_url: str, tmp_path: Path
) -> None:
    async with crash_bench(sqlite_url, tmp_path) as bench:
        async with web_process(bench.settings) as web:
            answer = await web.submit(bench.body())
            web.process.signal(signal.SIGKILL)
            await web.process.ended()
        async with worker_process(bench.settings):
            done = await bench.converged(await bench.only_task(), Outcome())
        assert (answer.status_code, answer.json()["id"]) == (202, str(done.id))


async def test_2_a_callers_own_id_gives_the_same_task(sqlite_url: str, tmp_path: Path) -> None:
    async with crash_bench(sqlite_url, tmp_path) as bench:
        async with doomed_web(bench, "submission.committed") as web:
            with pytest.raises(httpx.TransportError):
                await web.submit(bench.body(), client_id="gate-3.0717")
        async with web_process(bench.settings) as web, worker_process(bench.settings):
            answer = await web.submit(bench.body(), client_id="gate-3.0717")
            assert answer.status_code == 200
            done = await bench.converged(await bench.only_task(), Outcome())
            assert answer.json()["id"] == str(done.id)


async def test_3_a_task_that_was_never_queued_is_found_by_the_scan_though_nobody_asks_again(
    sqlite_url: str, tmp_path: Path
) -> None:
    async with crash_bench(sqlite_url, tmp_path) as bench, worker_process(bench.settings) as worker:
        await bench.swept()
        await _dies_at(bench, "submission.committed")
        await bench.converged(await bench.only_task(), Outcome())
        assert await repaired(worker, "plan.scanned") == 1


async def test_18_a_cancelled_task_whose_entry_stayed_in_redis_starts_nothing(
    sqlite_url: str, tmp_path: Path
) -> None:
    async with crash_bench(sqlite_url, tmp_path) as bench:
        task = await bench.submit()
        async with doomed_web(bench, "cancel.committed") as web:
            with pytest.raises(httpx.TransportError):
                await web.cancel(task.id)
        assert (await bench.bench.stats(QueueName.RECOGNITION)).ready == 1
        async with worker_process(bench.settings):
            history = ("0 submitted", "0 cancelled by its caller")
            await bench.converged(task, Outcome(status="cancelled", history=history))
        counters = (await bench.bench.stats(QueueName.RECOGNITION)).counters
        assert (counters["claimed"], counters["acked"]) == (1, 1)
        assert bench.bench.fetches("/a.jpg") == 0
        async with web_process(bench.settings) as web:
            again = await web.cancel(task.id)
        assert (again.status_code, again.json()["code"]) == (409, "task_is_final")
