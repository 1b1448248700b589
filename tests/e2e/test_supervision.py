"""What dies comes back within a second, and nothing that was accepted is lost."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from tests.support.muster import COWS, Embedded, descendants, is_alive, new_task, wait_until_gone

_RESTART_SECONDS = 1.0
_READY_SECONDS = 30.0


@pytest.fixture(params=["web-1", "worker-1", "valkey"])
def part(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_a_killed_part_is_started_again_within_a_second_and_the_service_works(
    muster: Embedded, part: str
) -> None:
    """Ready again before the next test, for the service is shared."""
    killed, seen = muster.program(part), len(muster.events)
    at = time.monotonic()
    os.kill(killed, signal.SIGKILL)
    started = muster.wait_for_event("program.started", after=seen, program=part)
    assert started["pid"] != killed
    assert started["seen_at"] - at < _RESTART_SECONDS
    # The tasks of a killed worker wait for its lease to run out, new ones only for the new worker.
    assert muster.count().task_num == 3
    muster.wait_for_event("program.ready", after=seen, program=part, limit_seconds=_READY_SECONDS)


def test_a_request_sent_while_the_web_process_is_dead_is_answered(muster: Embedded) -> None:
    with muster.client() as client:
        url = client.upload(COWS).url
        os.kill(muster.program("web-1"), signal.SIGKILL)
    with muster.client() as client:
        assert client.submit(new_task(url)).id


def test_the_recognising_children_of_a_killed_worker_end_with_it(muster: Embedded) -> None:
    muster.count()
    worker = muster.program("worker-1")
    children = descendants(worker)
    assert children
    seen = len(muster.events)
    os.kill(worker, signal.SIGKILL)
    wait_until_gone(children, limit_seconds=5)
    muster.wait_for_event("program.ready", after=seen, program="worker-1", limit_seconds=_READY_SECONDS)


def test_a_task_that_ran_when_its_worker_was_killed_is_done_by_the_next(data_dir: Path) -> None:
    with Embedded(data_dir, settings={"MUSTER_QUEUE_LEASE_SECONDS": "2"}) as muster:
        with muster.client() as client:
            url = client.upload(COWS).url
            tasks = [client.submit(new_task(url)).id for _ in range(12)]
            os.kill(muster.program("worker-1"), signal.SIGKILL)
            ended = [client.wait(each, timeout_seconds=60) for each in tasks]
        assert [(task.status, task.task_num) for task in ended] == [("completed", 3)] * 12
        assert muster.stop() == 0


def test_a_second_signal_ends_it_at_once(data_dir: Path) -> None:
    with Embedded(data_dir) as muster:
        everything = descendants(muster.pid)
        muster.send(signal.SIGSTOP)  # both signals are there when it goes on
        muster.send(signal.SIGTERM)
        muster.send(signal.SIGINT)
        muster.send(signal.SIGCONT)
        assert muster.wait(10) == 1
        wait_until_gone(everything, limit_seconds=5)
        assert not is_alive(muster.pid)
