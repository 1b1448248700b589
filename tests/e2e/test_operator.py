"""What an operator does at the command line and a business system with its client, on a whole service."""

from __future__ import annotations

from tests.support.muster import COWS, Embedded, new_task, run


def test_a_paused_queue_holds_tasks_that_can_be_cancelled_retried_and_counted(muster: Embedded) -> None:
    place = ("--data-dir", muster.data_dir)
    assert run("queues", "pause", "recognition", *place).returncode == 0
    try:
        with muster.client() as client:
            url = client.upload(COWS).url
            tasks = [client.submit(new_task(url, metadata={"n": number})) for number in range(3)]
            task_ids = [task.id for task in tasks]
            assert "recognition  paused" in run("queues", "show", *place).stdout
            counted = client.cancel_many(ids=task_ids, dry_run=True)
            cancelled = client.cancel_many(ids=task_ids)
            assert client.retry(task_ids[0]).status == "pending"
            retried = client.retry_many(ids=task_ids)
    finally:
        resumed = run("queues", "resume", "recognition", *place)
    assert (counted.matched, counted.changed, counted.dry_run) == (3, 0, True)
    assert (cancelled.changed, cancelled.has_more, retried.changed) == (3, False, 2)
    assert "goes on" in resumed.stdout
    with muster.client() as client:
        done = [client.wait(task_id, timeout_seconds=40) for task_id in task_ids]
    assert [(task.status, task.task_num) for task in done] == [("completed", 3)] * 3


def test_a_rotated_secret_stands_beside_the_old_one(muster: Embedded) -> None:
    place = ("--data-dir", muster.data_dir)
    assert run("systems", "add", "turning", *place).returncode == 0
    before = run("systems", "show", "turning", "-q", *place).stdout.strip()

    answer = run("systems", "rotate-secret", "turning", *place)

    shown = run("systems", "show", "turning", *place).stdout
    new = answer.stdout.splitlines()[1].split()[-1]
    assert answer.returncode == 0, answer.stderr
    assert new.startswith("whsec_")
    assert [line.split()[-1] for line in shown.splitlines()[1:]] == [new, before]
    assert run("systems", "rotate-secret", "nobody", *place).returncode == 1
