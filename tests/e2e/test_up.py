"""`muster up` as somebody new meets it."""

from __future__ import annotations

import json
import shlex
import signal
import socket
import stat
import subprocess
from pathlib import Path

from muster_client import verify

from tests.support.http_servers import CallbackReceiver
from tests.support.muster import (
    COWS,
    SHEEP,
    Embedded,
    descendants,
    is_alive,
    new_task,
    run,
    wait_until_gone,
)


async def test_a_photo_is_counted_and_the_signed_callback_verified(muster: Embedded) -> None:
    secret = str(muster.ready["webhook_secret"])
    async with CallbackReceiver(secret) as receiver:
        with muster.client() as client:
            url = client.upload(COWS).url
            task = client.submit(new_task(url, callback_url=receiver.url("/done")))
            await receiver.wait_for(1, limit_seconds=40)
            done = client.get(task.id)
            annotated = client.download(done.recognitions[0])
        callback = receiver.received[0]
        event = verify(callback.headers, callback.body, secret)
    assert (done.status, done.task_num, done.recognitions[0].counts) == ("completed", 3, {"COW": 3})
    assert annotated.startswith(b"\xff\xd8\xff")
    assert callback.is_verified
    assert (event["type"], event["data"]["id"], event["data"]["task_num"]) == ("task.completed", task.id, 3)


def test_only_what_stands_in_the_area_is_counted(muster: Embedded) -> None:
    answer = run(
        "submit", COWS, "--prompt", "COW", "--area", "0,0 1024,0 1024,300 0,300", "--watch", "--json",
        "--url", muster.url,
    )  # fmt: skip
    assert answer.returncode == 0, answer.stderr
    assert json.loads(answer.stdout)["task_num"] == 2


def test_submit_shows_a_table_of_the_counts(muster: Embedded) -> None:
    answer = run("submit", COWS, SHEEP, "--prompt", "ALL", "--watch", "--url", muster.url)
    assert answer.returncode == 0, answer.stderr
    assert "3 COW" in answer.stdout
    assert "1 SHEEP" in answer.stdout
    assert "counted in all: 4" in answer.stdout
    assert f"{muster.url}/v1/tasks/" in answer.stdout


def test_the_curl_line_it_prints_works(muster: Embedded) -> None:
    line = muster.wait_for(
        lambda: next((each for each in muster.printed if "curl " in each), None),
        "the curl line",
        limit_seconds=20,
    )
    done = subprocess.run(shlex.split(line), capture_output=True, text=True, timeout=60, check=True)
    assert json.loads(done.stdout)["task_num"] == 3


def test_ready_json_is_for_its_owner_alone_and_says_where_everything_is(muster: Embedded) -> None:
    path = muster.data_dir / "ready.json"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(muster.data_dir.stat().st_mode) == 0o700
    ready = json.loads(path.read_text())
    assert set(ready) == {"url", "pid", "webhook_secret", "redis_url"}
    assert ready["pid"] == muster.pid
    assert ready["webhook_secret"].startswith("whsec_")
    assert ready["redis_url"] == f"unix://{muster.data_dir}/valkey.sock"
    for name in ("secret_key", "webhook_secret"):
        assert stat.S_IMODE((muster.data_dir / name).stat().st_mode) == 0o600


def test_a_second_one_on_the_same_folder_is_told_who_runs_there(muster: Embedded) -> None:
    answer = run("up", "--port", "0", "--data-dir", muster.data_dir)
    assert answer.returncode == 1
    assert f"process {muster.pid}, {muster.url}" in answer.stderr
    assert "--data-dir" in answer.stderr


def test_a_port_in_use_is_said_before_anything_is_started(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        answer = run("up", "--port", str(port), "--data-dir", tmp_path / "data")
    assert answer.returncode == 1
    assert answer.stderr.strip() == (
        f"muster: Port {port} on 127.0.0.1 is taken by another program; "
        "choose another with --port, or --port 0 for a free one."
    )
    assert not (tmp_path / "data" / "muster.db").exists()


def test_ctrl_c_stops_everything_and_starting_again_finds_every_task(data_dir: Path) -> None:
    with Embedded(data_dir, settings={"MUSTER_WORKER_SLOTS": "1"}) as first:
        done = first.count(COWS)
        with first.client() as client:
            url = client.upload(SHEEP).url
            waiting = [client.submit(new_task(url, "SHEEP")).id for _ in range(8)]
        everything = descendants(first.pid)
        secret = first.ready["webhook_secret"]
        assert first.stop() == 0
        assert [pid for pid in everything if is_alive(pid)] == []
        assert not (data_dir / "ready.json").exists()
    with Embedded(data_dir) as second, second.client() as client:
        assert second.ready["webhook_secret"] == secret
        assert client.get(done.id).task_num == 3
        ended = [client.wait(each, timeout_seconds=40) for each in waiting]
        assert [(each.status, each.task_num) for each in ended] == [("completed", 1)] * 8
        assert {task.id for task in client.iter_tasks(page_size=4)} == {done.id, *waiting}


def test_a_deep_folder_and_several_processes_of_each_kind_are_no_hindrance(tmp_path: Path) -> None:
    """Paths of unix sockets are short; web processes share one address."""
    deep = tmp_path / ("d" * 60) / ("e" * 60) / "data"
    deep.parent.mkdir(parents=True)
    with Embedded(deep, "--web", "2", "--workers", "2") as running:
        assert len(running.ready["redis_url"]) < 110
        with running.client() as client:
            assert len(client.workers()) == 2
        assert running.count().task_num == 3
        assert run("doctor", "--data-dir", deep).returncode == 0
        assert running.stop() == 0


def test_doctor_finds_a_running_service_well_and_names_what_is_missing(
    muster: Embedded, tmp_path: Path
) -> None:
    well = run("doctor", "--data-dir", muster.data_dir)
    assert well.returncode == 0, well.stdout
    assert "BAD" not in well.stdout
    ill = run(
        "doctor",
        cwd=tmp_path,
        settings={
            "MUSTER_SECRET_KEY": "k" * 32,
            "MUSTER_REDIS_URL": "redis://127.0.0.1:1/0",
            "MUSTER_DATABASE_URL": f"sqlite+aiosqlite:///{tmp_path / 'empty.db'}",
        },
    )
    assert ill.returncode == 1
    assert "muster migrate" in ill.stdout
    assert "check MUSTER_REDIS_URL" in ill.stdout


def test_the_secret_of_a_system_can_be_shown(muster: Embedded) -> None:
    muster.count()
    answer = run("systems", "show", "e2e", "-q", "--data-dir", muster.data_dir)
    assert answer.stdout.strip() == muster.ready["webhook_secret"]
    assert run("systems", "show", "nobody", "--data-dir", muster.data_dir).returncode == 1


def test_submit_says_by_its_exit_status_how_it_went(muster: Embedded, tmp_path: Path) -> None:
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(COWS.read_bytes()[:2000])
    at = ("--url", muster.url)
    assert run("submit", broken, "--prompt", "COW", "--watch", *at).returncode == 1
    assert run("submit", tmp_path / "nothing.jpg", "--prompt", "COW", *at).returncode == 2
    assert run("submit", COWS, "--prompt", "COW", "--area", "0,0 1,1", *at).returncode == 2
    refused = run("submit", COWS, "--prompt", "DRAGON", *at)
    assert (refused.returncode, "SHEEP" in refused.stderr) == (2, True)
    assert run("submit", COWS, "--prompt", "COW", "--url", "http://127.0.0.1:1").returncode == 3


def test_a_part_that_cannot_start_ends_the_whole_with_a_clear_message(data_dir: Path) -> None:
    routing = json.dumps([{"name": "always", "start": "00:00", "end": "00:00", "model": "nessie"}])
    answer = run(
        "up", "--port", "0", "--data-dir", data_dir, cwd=data_dir.parent, settings={"MUSTER_ROUTING": routing}
    )
    assert answer.returncode == 1
    assert "does not start" in answer.stderr
    assert "nessie" in answer.stderr
    assert not (data_dir / "ready.json").exists()


def test_the_programs_of_a_killed_supervisor_end_with_it(data_dir: Path) -> None:
    with Embedded(data_dir) as running:
        everything = descendants(running.pid)
        running.send(signal.SIGKILL)
        running.wait()
        wait_until_gone(everything, limit_seconds=5)
    with Embedded(data_dir) as again:
        assert again.count().task_num == 3
        assert again.stop() == 0


def test_a_web_process_without_authentication_stays_on_this_machine(tmp_path: Path) -> None:
    answer = run(
        "web", "--host", "0.0.0.0", "--port", "0",
        cwd=tmp_path, settings={"MUSTER_AUTH": "off", "MUSTER_SECRET_KEY": "k" * 32},
    )  # fmt: skip
    assert answer.returncode == 2
    assert "MUSTER_ALLOW_INSECURE=1" in answer.stderr
