"""Keeping a program running; the programs are small but real."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

import pytest

from app.cli.exits import MISUSED
from app.cli.supervisor import Keeper, Program, ProgramFailed

_SAY_READY = "import os, sys, time; os.write(int(sys.argv[1]), b'1'); os.close(int(sys.argv[1]))\n"
_SLEEP = "time.sleep(60)\n"


def _program(code: str, *, stop_seconds: float = 5.0) -> Program:
    return Program(
        name="sample",
        command=(sys.executable, "-I", "-c", code, "{ready}"),
        environment=dict(os.environ),
        stop_seconds=stop_seconds,
    )


@pytest.fixture(autouse=True)
def _limit(request: pytest.FixtureRequest) -> None:
    request.node.add_marker(pytest.mark.timeout(40))


async def test_a_program_that_was_ready_is_started_again_when_it_dies() -> None:
    keeper = Keeper(_program(_SAY_READY + _SLEEP))
    async with asyncio.TaskGroup() as group:
        group.create_task(keeper.run())
        await keeper.ready.wait()
        first = keeper.pid
        assert first is not None
        os.kill(first, signal.SIGKILL)
        async with asyncio.timeout(10):
            await _another(keeper, first)
        keeper.stop()
    assert not _is_there(keeper.pid)


async def test_a_program_is_replaced_on_demand_without_counting_as_dead(tmp_path: Path) -> None:
    code = f"open({str(tmp_path / 'starts')!r}, 'a').write('x')\n" + _SAY_READY + _SLEEP
    keeper = Keeper(_program(code))
    async with asyncio.TaskGroup() as group:
        group.create_task(keeper.run())
        pids = set()
        async with asyncio.timeout(20):
            for _ in range(4):
                await keeper.ready.wait()
                pids.add(keeper.pid)
                await keeper.renew()
        assert keeper.pid not in pids
        keeper.stop()
    assert len(pids) == 4
    assert (tmp_path / "starts").read_text() == "x" * 5
    assert not _is_there(keeper.pid)


async def test_one_that_never_gets_ready_is_given_up_after_a_few_tries(tmp_path: Path) -> None:
    code = f"open({str(tmp_path / 'starts')!r}, 'a').write('x'); raise SystemExit(7)"
    with pytest.raises(ProgramFailed, match="sample does not start"):
        await Keeper(_program(code)).run()
    assert (tmp_path / "starts").read_text() == "xxx"


async def test_one_whose_settings_are_wrong_is_not_tried_again(tmp_path: Path) -> None:
    code = f"open({str(tmp_path / 'starts')!r}, 'a').write('x'); raise SystemExit({MISUSED})"
    with pytest.raises(ProgramFailed):
        await Keeper(_program(code)).run()
    assert (tmp_path / "starts").read_text() == "x"


async def test_one_that_ignores_sigterm_is_killed_when_its_time_is_over() -> None:
    code = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + _SAY_READY + _SLEEP
    keeper = Keeper(_program(code, stop_seconds=0.2))
    async with asyncio.TaskGroup() as group:
        group.create_task(keeper.run())
        await keeper.ready.wait()
        keeper.stop()
    assert not _is_there(keeper.pid)


async def test_cancelling_leaves_nothing_behind() -> None:
    keeper = Keeper(_program(_SAY_READY + _SLEEP))
    running = asyncio.create_task(keeper.run())
    await keeper.ready.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert keeper.pid is not None
    async with asyncio.timeout(5):
        while _is_there(keeper.pid):
            await asyncio.to_thread(_collect, keeper.pid)


async def _another(keeper: Keeper, first: int) -> None:
    while True:
        if keeper.pid != first and keeper.ready.is_set():
            return
        await asyncio.sleep(0.01)


def _is_there(pid: int | None) -> bool:
    assert pid is not None
    return Path(f"/proc/{pid}").exists()


def _collect(pid: int) -> None:
    """Let the kernel finish: whoever waits for the process takes it away."""
    try:
        os.waitpid(pid, 0)
    except ChildProcessError:
        return
