"""Children that hang, crash, eat memory or are not wanted any more."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from core.catalogue import ModelSpec
from core.errors import RecogniserCrashed, RecogniserTimeout
from tests.support.models import model
from tests.support.pictures import SHEEP
from worker.compute import Compute, ComputeSettings, PictureJob

PATIENCE_SECONDS = 30.0
SLOT_FREE_SECONDS = 1.0
DEFAULTS = ComputeSettings()
CONTENT = SHEEP.read_bytes()


def job(spec: ModelSpec) -> PictureJob:
    return PictureJob(content=CONTENT, model=spec, prompt="ALL", annotate=False)


@asynccontextmanager
async def started(children: int = 1, limits: ComputeSettings = DEFAULTS) -> AsyncIterator[Compute]:
    async with Compute(replace(limits, children=children), [model("ssdlite")]) as compute:
        await compute.ready()
        yield compute


async def with_a_spare(compute: Compute) -> None:
    """Wait until the spare child has started, as it has long before a picture goes wrong."""
    assert compute.spare is not None
    await compute.spare.child()


@asynccontextmanager
async def told(release: asyncio.Event | None = None) -> AsyncIterator[tuple[int, asyncio.Queue[int]]]:
    """A port that recognisers report to, and the pids of those at work; `release` lets `Waits` go on."""
    pids: asyncio.Queue[int] = asyncio.Queue()

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        pids.put_nowait(json.loads(await reader.read())[0])
        if release is not None:
            await release.wait()
        writer.close()

    server = await asyncio.start_server(listen, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1], pids


async def pid_of_a_child(compute: Compute) -> int:
    findings = (await compute.run(job(model("Witness")), PATIENCE_SECONDS)).findings
    return next(int(one.score) for one in findings.objects if one.label == "PID")


def is_running(pid: int) -> bool:
    """Whether a process exists and is not merely waiting to be collected."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except FileNotFoundError:
        return False
    return state not in {"Z", "X"}


def children_of_this_process() -> list[str]:
    tasks = Path(f"/proc/{os.getpid()}/task").iterdir()
    return [pid for task in tasks for pid in (task / "children").read_text().split()]


async def ended(pid: int) -> None:
    """Return when a process is gone; the kernel tells through a pidfd."""
    try:
        watched = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    gone = asyncio.Event()
    asyncio.get_running_loop().add_reader(watched, gone.set)
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            await gone.wait()
    finally:
        asyncio.get_running_loop().remove_reader(watched)
        os.close(watched)


async def test_a_recogniser_that_hangs_is_killed_and_its_slot_is_free_within_a_second() -> None:
    async with told() as (port, pids), started() as compute:
        await with_a_spare(compute)
        with pytest.raises(RecogniserTimeout):
            await compute.run(job(model("Hang", tell=port)), 0.5)
        over = time.monotonic()
        await compute.run(job(model("picture")), PATIENCE_SECONDS)
        assert time.monotonic() - over < SLOT_FREE_SECONDS
        assert not is_running(pids.get_nowait())


@pytest.mark.parametrize("how", ["Segfault", "Exit"])
async def test_a_child_that_dies_fails_its_own_picture_and_no_other(how: str) -> None:
    release = asyncio.Event()
    async with told(release) as (port, pids), started(children=2) as compute, asyncio.TaskGroup() as group:
        neighbour = group.create_task(compute.run(job(model("Waits", tell=port)), PATIENCE_SECONDS))
        await pids.get()
        for _ in range(2):
            with pytest.raises(RecogniserCrashed):
                await compute.run(job(model(how)), PATIENCE_SECONDS)
        release.set()
        assert (await neighbour).findings.width == 1024
        assert (await compute.run(job(model("ssdlite")), PATIENCE_SECONDS)).findings.total == 1


async def test_a_recogniser_that_eats_memory_is_stopped() -> None:
    async with started(limits=ComputeSettings(memory_bytes=1_000_000_000)) as compute:
        with pytest.raises(RecogniserCrashed, match="out of memory"):
            await compute.run(job(model("MemoryHog")), PATIENCE_SECONDS)
        assert (await compute.run(job(model("ssdlite")), PATIENCE_SECONDS)).findings.total == 1


async def test_an_error_in_a_recogniser_is_a_crash_that_tells_no_details() -> None:
    async with started() as compute:
        with pytest.raises(RecogniserCrashed) as crash:
            await compute.run(job(model("Raises")), PATIENCE_SECONDS)
        assert crash.value.message == "The recogniser failed with ZeroDivisionError."


async def test_a_flaky_recogniser_succeeds_when_it_is_tried_again(tmp_path: Path) -> None:
    flaky = model("Flaky", deaths=2, tally=str(tmp_path / "tally"))
    async with started() as compute:
        for _ in range(2):
            with pytest.raises(RecogniserCrashed):
                await compute.run(job(flaky), PATIENCE_SECONDS)
        assert (await compute.run(job(flaky), PATIENCE_SECONDS)).findings.counts == {"COW": 1}


async def test_waiting_for_a_child_is_not_part_of_the_time_limit() -> None:
    async with started() as compute, asyncio.TaskGroup() as group:
        runs = [group.create_task(compute.run(job(model("Slow", seconds=0.4)), 1.0)) for _ in range(4)]
    assert all(run.result().findings.width == 1024 for run in runs)


async def test_a_cancelled_job_is_killed_and_its_slot_is_free_within_a_second() -> None:
    async with told() as (port, pids), started() as compute, asyncio.TaskGroup() as group:
        hanging = group.create_task(compute.run(job(model("Hang", tell=port)), 600))
        pid = await pids.get()
        await with_a_spare(compute)
        hanging.cancel()
        over = time.monotonic()
        await ended(pid)
        await compute.run(job(model("picture")), PATIENCE_SECONDS)
        assert time.monotonic() - over < SLOT_FREE_SECONDS
        assert hanging.cancelled()


async def test_cancelling_a_job_that_waits_costs_nothing() -> None:
    release = asyncio.Event()
    async with told(release) as (port, pids), started() as compute, asyncio.TaskGroup() as group:
        first = group.create_task(compute.run(job(model("Waits", tell=port)), PATIENCE_SECONDS))
        pid = await pids.get()
        waiting = group.create_task(compute.run(job(model("picture")), PATIENCE_SECONDS))
        await asyncio.sleep(0)
        waiting.cancel()
        release.set()
        assert (await first).findings.width == 1024
        assert await pid_of_a_child(compute) == pid


async def test_an_idle_child_that_is_killed_is_replaced_unnoticed() -> None:
    async with started() as compute:
        pid = await pid_of_a_child(compute)
        os.kill(pid, signal.SIGKILL)
        await ended(pid)
        outcome = None
        while outcome is None:
            try:
                outcome = await compute.run(job(model("ssdlite")), PATIENCE_SECONDS)
            except RecogniserCrashed:
                continue  # the death had not reached us yet
        assert outcome.findings.total == 1
        assert await pid_of_a_child(compute) != pid


async def test_a_child_is_replaced_after_its_share_of_pictures() -> None:
    async with started(limits=ComputeSettings(recycle_after=2)) as compute:
        pids = [await pid_of_a_child(compute) for _ in range(4)]
    assert pids[0] == pids[1] != pids[2] == pids[3]


async def test_a_child_finishes_its_picture_through_interrupt_and_terminate() -> None:
    release = asyncio.Event()
    async with told(release) as (port, pids), started() as compute, asyncio.TaskGroup() as group:
        running = group.create_task(compute.run(job(model("Waits", tell=port)), PATIENCE_SECONDS))
        pid = await pids.get()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            os.kill(pid, number)
        release.set()
        assert (await running).findings.width == 1024


async def test_leaving_ends_every_child() -> None:
    others = set(children_of_this_process())
    async with told() as (port, pids):
        async with started(children=2) as compute:
            idle = await pid_of_a_child(compute)
            hanging = asyncio.ensure_future(compute.run(job(model("Hang", tell=port)), 600))
            busy = await pids.get()
        with pytest.raises(RecogniserCrashed):
            await hanging
    assert not is_running(idle)
    assert not is_running(busy)
    assert set(children_of_this_process()) <= others


async def test_children_end_with_a_parent_that_is_killed() -> None:
    async with told() as (port, pids):
        parent = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.support.compute_parent", str(port), cwd=Path(__file__).parents[2]
        )
        children = [await pids.get() for _ in range(2)]
        assert all(is_running(pid) for pid in children)
        parent.kill()
        await parent.wait()
        for pid in children:
            await ended(pid)
        assert not any(is_running(pid) for pid in children)
