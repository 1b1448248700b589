"""The processes of an installation of its own: migrate, web, worker."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from muster_client import Client, RequestRefused

from tests.support.muster import COWS, Running, new_task, run
from tests.support.valkey import PrivateValkey


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    folder = tmp_path_factory.mktemp("installation")
    with PrivateValkey() as valkey:
        chosen = {
            "MUSTER_DATABASE_URL": f"sqlite+aiosqlite:///{folder / 'muster.db'}",
            "MUSTER_REDIS_URL": valkey.url,
            "MUSTER_MEDIA_DIR": str(folder / "media"),
            "MUSTER_SECRET_KEY": "k" * 32,
        }
        assert run("migrate", cwd=folder, settings=chosen).returncode == 0
        yield chosen


def _started(tmp_path: Path, settings: dict[str, str], *arguments: str) -> Running:
    running = Running(*arguments, cwd=tmp_path, settings=settings)
    running.wait_for_event(f"{arguments[0]}.started", limit_seconds=60)
    return running


@pytest.mark.parametrize("number", ["1", "2"])
def test_web_and_worker_answer_a_key_and_end_well_on_sigterm(
    settings: dict[str, str], tmp_path: Path, number: str
) -> None:
    added = run("systems", "add", "north-ranch", cwd=tmp_path, settings=settings)
    key = next(line.split()[-1] for line in added.stdout.splitlines() if line.startswith("API key"))
    web = _started(tmp_path, settings, "web", "--port", "0", "--web", number)
    worker = _started(tmp_path, settings, "worker")
    try:
        url = web.wait_for_event("web.started")["url"]
        with Client(url) as stranger, pytest.raises(RequestRefused) as refused:
            stranger.submit(new_task("https://cams.example/a.jpg"))
        assert refused.value.status == 401
        with Client(url, key) as owner:
            task = new_task(owner.upload(COWS).url).model_copy(update={"system_code": "north-ranch"})
            assert owner.wait(owner.submit(task).id, timeout_seconds=60).task_num == 3
        for running in (web, worker):
            running.send(signal.SIGTERM)
        assert (web.wait(), worker.wait()) == (0, 0)
    finally:
        web.end()
        worker.end()


def test_a_web_process_listens_on_a_unix_socket(settings: dict[str, str], tmp_path: Path) -> None:
    path = tmp_path / "web.sock"
    web = _started(tmp_path, settings, "web", "--uds", str(path))
    try:
        taken = run("web", "--uds", path, cwd=tmp_path, settings=settings)
        assert (taken.returncode, "Another program listens" in taken.stderr) == (1, True)
        web.send(signal.SIGINT)
        assert web.wait() == 0
    finally:
        web.end()


def test_a_wrong_setting_is_named_and_nothing_is_started(settings: dict[str, str], tmp_path: Path) -> None:
    for command in ("web", "worker", "migrate"):
        answer = run(command, cwd=tmp_path, settings={**settings, "MUSTER_TIME_ZONE": "Ranch/North"})
        assert answer.returncode == 2, command
        assert "MUSTER_TIME_ZONE" in answer.stderr
        assert "Traceback" not in answer.stderr


def test_models_are_listed_as_the_service_lists_them(settings: dict[str, str], tmp_path: Path) -> None:
    listed = json.loads(run("models", "--json", cwd=tmp_path, settings=settings).stdout)["items"]
    assert [model["name"] for model in listed] == ["picture", "ssdlite"]
    assert listed[0]["prompts"] == ["ALL"]
    assert {"ALL", "COW", "SHEEP"} <= set(listed[1]["prompts"])
    assert listed[1]["default_for"] == ["day", "night"]


def test_the_queue_can_be_rebuilt_by_hand(settings: dict[str, str], tmp_path: Path) -> None:
    answer = run("rebuild-queue", cwd=tmp_path, settings=settings)
    assert answer.returncode == 0, answer.stderr
    assert "Put back: 0 tasks" in answer.stdout
