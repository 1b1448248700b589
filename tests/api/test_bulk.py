"""Changing many tasks at once: by filter, by ids, and only to look how many there are."""

from __future__ import annotations

from typing import Any

import pytest

from app.auth import ANYBODY
from app.services.bulk import BulkService
from core.domain.recognition import ErrorNote
from core.domain.task import TaskStatus
from core.store.attempts import Finished
from core.store.bulk import BulkChange
from core.store.tasks import TaskFilter
from tests.support.api import Api, camera, row_of, submission
from tests.support.keys import NORTH, OPERATOR, SOUTH
from tests.support.store import Store
from tests.support.valkey import PrivateValkey

HOOK = "https://erp.example/hook"
NOTHING = {"dry_run": False, "matched": 0, "changed": 0, "has_more": False}


async def of_gate(api: Api, gate: str, count: int, **changes: Any) -> list[Any]:
    """Submit tasks with pictures of one camera."""
    body = submission(cameras=[camera(camera_id=gate)], callback_url=HOOK, **changes)
    return [await api.accepted(body) for _ in range(count)]


async def fail(store: Store, *told: Any) -> None:
    """Run tasks to their failure as a worker would."""
    for one in told:
        started = (await store.start(await row_of(store, one))).tasks[0]
        error = ErrorNote(code="image_http_status", message="It answered 404.")
        await store.record(started, end=Finished(status=TaskStatus.FAILED, error=error))


async def statuses(store: Store, tasks: list[Any]) -> set[str]:
    return {(await row_of(store, one)).status.value for one in tasks}


async def test_tasks_are_cancelled_by_filter_and_their_callbacks_queued_at_once(
    api: Api, store: Store, valkey: PrivateValkey
) -> None:
    wanted, other = await of_gate(api, "gate-1", 3), await of_gate(api, "gate-2", 2)

    answer = await api.post("/v1/tasks/cancel", {"camera_id": "gate-1"})

    assert (answer.status, answer.json) == (200, NOTHING | {"matched": 3, "changed": 3})
    assert (await statuses(store, wanted), await statuses(store, other)) == ({"cancelled"}, {"pending"})
    history = await store.history(await row_of(store, wanted[0]))
    assert [line.why for line in history] == ["submitted", "cancelled by its caller"]
    with valkey.client() as client:
        assert client.zcard("mst:{recognition}:ready") == 2
        assert client.zcard("mst:{delivery}:ready") == 3


async def test_a_dry_run_counts_and_changes_nothing(api: Api, store: Store) -> None:
    tasks = await of_gate(api, "gate-1", 3)
    await api.post(f"/v1/tasks/{tasks[0]['id']}/cancel")

    answer = await api.post("/v1/tasks/cancel", {"camera_id": "gate-1", "dry_run": True})

    assert answer.json == NOTHING | {"dry_run": True, "matched": 2}
    assert await statuses(store, tasks[1:]) == {"pending"}


async def test_a_running_task_of_many_is_asked_to_stop_once(api: Api, store: Store) -> None:
    (running,) = await of_gate(api, "gate-1", 1)
    await store.start(await row_of(store, running))

    first = await api.post("/v1/tasks/cancel", {"status": ["in_progress"]})
    second = await api.post("/v1/tasks/cancel", {"status": ["in_progress"]})

    assert (first.json["changed"], second.json) == (1, NOTHING)
    row = await row_of(store, running)
    assert (row.status, row.cancel_requested) == (TaskStatus.IN_PROGRESS, True)


async def test_tasks_are_retried_by_ids_and_queued(api: Api, store: Store, valkey: PrivateValkey) -> None:
    failed, waiting = await of_gate(api, "gate-1", 2), await of_gate(api, "gate-1", 1)
    await fail(store, *failed)
    valkey.flush()

    answer = await api.post("/v1/tasks/retry", {"ids": [one["id"] for one in (*failed, *waiting)]})

    assert answer.json == NOTHING | {"matched": 2, "changed": 2}
    rows = [await row_of(store, one) for one in failed]
    assert [(row.status, row.series) for row in rows] == [(TaskStatus.PENDING, 2)] * 2
    assert (await store.history(rows[0]))[-1].why == "retried by its owner"
    with valkey.client() as client:
        assert client.zcard("mst:{recognition}:ready") == 2


async def test_more_than_one_batch_is_changed_in_one_request(api: Api, store: Store) -> None:
    body = {"items": [submission(business_id="flood", callback_url=HOOK)] * 250}
    await api.post("/v1/tasks/batch", body)

    answer = await api.post("/v1/tasks/cancel", {"business_id": "flood"})

    assert answer.json == NOTHING | {"matched": 250, "changed": 250}
    assert await store.count("delivery") == 250


async def test_a_request_changes_so_many_and_says_that_more_are_left(api: Api) -> None:
    await api.post("/v1/tasks/batch", {"items": [submission(business_id="flood")] * 250})
    context, wanted = api.app.extensions["muster"], TaskFilter(business_id="flood")
    bulk = BulkService(context.base, context.tasks, max_changes=120)

    looked = await bulk.change_tasks(BulkChange.CANCEL, wanted, ANYBODY, dry_run=True)
    done = [await bulk.change_tasks(BulkChange.CANCEL, wanted, ANYBODY, dry_run=False) for _ in range(4)]

    assert (looked.matched, looked.has_more) == (250, True)
    assert [(one.changed, one.has_more) for one in done] == [
        (120, True),
        (120, True),
        (10, False),
        (0, False),
    ]


@pytest.mark.parametrize(
    ("selection", "changed"),
    [
        ({"business_id": "b-1"}, 1),
        ({"business_id": "b-2"}, 0),
        ({"prompt": "cow"}, 1),
        ({"prompt": "SHEEP"}, 0),
        ({"status": ["pending", "failed"]}, 1),
        ({"status": ["completed"]}, 0),
        ({"created_after": "2020-01-01T00:00:00Z"}, 1),
        ({"created_before": "2020-01-01 00:00:00"}, 0),
        ({"system_code": "north-ranch"}, 1),
        ({"system_code": "south-ranch"}, 0),
        ({"ids": ["1"]}, 0),
    ],
)
async def test_every_filter_narrows(api: Api, selection: Any, changed: int) -> None:
    await api.accepted(submission(business_id="b-1"))

    assert (await api.post("/v1/tasks/cancel", selection)).json["changed"] == changed


@pytest.mark.parametrize("path", ["/v1/tasks/cancel", "/v1/tasks/retry", "/v1/deliveries/replay"])
@pytest.mark.parametrize(
    ("body", "pointers"),
    [
        ({}, [""]),
        ({"dry_run": True}, [""]),
        ({"ids": []}, ["/ids"]),
        ({"ids": ["x"]}, ["/ids/0"]),
        ({"ids": ["9223372036854775808"]}, ["/ids/0"]),
        ({"ids": [1]}, ["/ids/0"]),
        ({"ids": ["1"] * 501}, ["/ids"]),
        ({"status": ["odd"]}, ["/status/0"]),
        ({"created_after": "yesterday"}, ["/created_after"]),
        ({"ids": ["1"], "colour": "red"}, ["/colour"]),
        ({"ids": ["1"], "dry_run": "yes"}, ["/dry_run"]),
        ([], [""]),
    ],
)
async def test_a_wrong_selection_is_refused(api: Api, path: str, body: Any, pointers: list[str]) -> None:
    answer = await api.post(path, body)

    assert (answer.status, answer.pointers) == (422, pointers)


async def test_a_system_reaches_its_own_tasks_alone(closed: Api, store: Store) -> None:
    north, south, operator = (closed.with_key(key) for key in (NORTH, SOUTH, OPERATOR))
    mine = await of_gate(north, "gate-1", 2)
    theirs = await of_gate(south, "gate-1", 1, system_code="south-ranch")
    everything = {"ids": [one["id"] for one in (*mine, *theirs)]}

    assert (await north.post("/v1/tasks/cancel", everything)).json["changed"] == 2
    assert await statuses(store, theirs) == {"pending"}
    refused = await north.post("/v1/tasks/cancel", everything | {"system_code": "south-ranch"})
    assert (refused.status, refused.pointers) == (422, ["/system_code"])
    assert (await operator.post("/v1/tasks/cancel", everything)).json["changed"] == 1
    assert (await south.post("/v1/tasks/retry", everything)).json["changed"] == 1
    assert await statuses(store, mine) == {"cancelled"}
