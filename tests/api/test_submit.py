"""Submitting tasks: accepted, repeated, in place of others."""

from __future__ import annotations

from tests.support.api import Api, submission


async def test_a_task_is_accepted_and_can_be_read(api: Api) -> None:
    answer = await api.post("/v1/tasks", submission())

    task = answer.json
    assert answer.status == 202
    assert answer.headers["Location"] == f"/v1/tasks/{task['id']}"
    assert (task["status"], task["queue"]["position"], task["queue"]["ahead"]) == ("pending", 1, 0)
    assert (await api.get(f"/v1/tasks/{task['id']}")).json == task
