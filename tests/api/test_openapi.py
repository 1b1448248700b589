"""The OpenAPI document says what the service does, all of it and nothing else."""

from __future__ import annotations

import json
import re
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from openapi_spec_validator import validate
from PIL import Image

from app.openapi.document import OPERATIONS, build_document, codes
from app.problems import KNOWN
from core.domain.delivery import EventType
from core.domain.envelope import envelope_body
from core.domain.task import TaskStatus
from core.domain.wire import event_body
from core.media import Media, MediaStoreSettings
from core.settings import Settings
from core.store.attempts import Finished
from tests.support.api import Api, camera, changed, deliver, open_api, row_of, submission
from tests.support.keys import NORTH, OPERATOR, add_keys
from tests.support.standstill import stand_still
from tests.support.store import Store, recognised
from tests.support.tasks import MOMENT, some_task

NOT_BUILT_YET = {"rate_limited", "queue_full_for_system"}
"""Codes that have a status already and that nothing answers so far."""


def test_the_document_is_valid_openapi() -> None:
    validate(build_document(needs_key=True))


async def test_every_route_is_described_and_every_description_is_a_route(api: Api) -> None:
    routes = {
        (method.lower(), re.sub(r"<(\w+)>", r"{\1}", rule.rule))
        for rule in api.app.url_map.iter_rules()
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    }
    described = {(operation.method, operation.path) for operation in OPERATIONS}

    assert routes == described


def test_every_parameter_of_a_path_is_described() -> None:
    for operation in OPERATIONS:
        in_path = {parameter.name for parameter in operation.parameters if parameter.place == "path"}
        assert in_path == set(re.findall(r"{(\w+)}", operation.path)), operation.path


def test_every_code_of_a_problem_is_described() -> None:
    assert {kind.code for kind in KNOWN} - set(codes()) == NOT_BUILT_YET


def test_every_operation_has_a_name_of_its_own() -> None:
    names = [operation.name for operation in OPERATIONS]

    assert all(names)
    assert len(set(names)) == len(names)


@pytest.mark.parametrize(
    ("body", "is_good"),
    [
        (submission(), True),
        (submission(cameras=[camera(monitor_areas="[]")]), True),
        (submission(cameras=[camera(monitor_areas=[[[0, 0], [1.5, 0], [1, 1]]], camera_size=[2, 2])]), True),
        (submission(dedup={"key": "k", "mode": "replace"}, callback_events=["task.image"]), True),
        (submission(cameras=[]), False),
        (submission(colour="red"), False),
        (submission(priority=10), False),
        (submission(cameras=[camera(monitor_areas=[[[0, 0], [1, 1]]])]), False),
        (submission(dedup={"key": "k", "mode": "newest"}), False),
    ],
)
async def test_the_schema_of_a_submission_takes_what_the_service_takes(
    api: Api, body: Any, is_good: bool
) -> None:
    schema = {"$ref": "#/components/schemas/TaskIn", **api.contract.document}

    assert Draft202012Validator(schema).is_valid(body) is is_good
    assert ((await api.post("/v1/tasks", body)).status == 202) is is_good


@pytest.mark.parametrize("status", [TaskStatus.COMPLETED, TaskStatus.FAILED])
async def test_callbacks_are_as_described(api: Api, status: TaskStatus) -> None:
    base = api.app.extensions["muster"].base
    bodies = {
        "EventView": event_body(some_task(status), EventType.COMPLETED, at=MOMENT, links=base.links),
        "EnvelopeCallback": envelope_body(
            some_task(status), at=MOMENT, links=base.links, zone=base.settings.zone
        ),
    }

    for name, body in bodies.items():
        schema = {"$ref": f"#/components/schemas/{name}", **api.contract.document}
        Draft202012Validator(schema).validate(json.loads(body))


async def test_a_key_is_described_where_one_is_needed(settings: Settings) -> None:
    async with open_api(changed(settings, auth="on")) as closed:
        document = closed.contract.document

    assert document["security"] == [{"key": []}]
    assert document["paths"]["/livez"]["get"]["security"] == []
    assert "security" not in document["paths"]["/v1/tasks"]["get"]


async def test_every_documented_answer_can_be_had(
    api: Api, store: Store, settings: Settings, tmp_path: Path
) -> None:
    await _use_tasks(api, store)
    await _use_pictures(api, store, settings)
    await _use_the_rest(api, store)
    seen = set(api.contract.seen)
    async with open_api(changed(settings, auth="on")) as closed:
        await add_keys(closed, store)
        await _use_what_operators_may(closed.with_key(NORTH), closed.with_key(OPERATOR))
        seen |= await _everything(closed)
    empty = {"url": f"sqlite+aiosqlite:///{tmp_path}/empty.db"}
    async with open_api(changed(settings, auth="on", database=empty)) as down:
        seen |= await _everything(down.with_key("mst_any"))
    unwritable = tmp_path / "gone"
    async with open_api(changed(settings, media={"dir": unwritable})) as full:
        unwritable.rmdir()
        unwritable.write_text("")
        await full.ask("POST", "/v1/uploads", content=_png())
        seen |= full.contract.seen

    async with open_api(changed(settings, intake={"stalled_seconds": 0.05})) as stuck:
        await stand_still(stuck, tmp_path / "muster.db")
        seen |= stuck.contract.seen

    assert sorted(api.contract.promised - seen) == []


async def _use_tasks(api: Api, store: Store) -> None:
    task = await api.accepted(submission(), Idempotency_Key="k")
    path = f"/v1/tasks/{task['id']}"
    await api.post("/v1/tasks", submission(), Idempotency_Key="k")
    for body in (b"{", submission(priority=10)):
        await api.post("/v1/tasks", body)
        await api.put("/v1/tasks/a", body)
        await api.post("/v1/tasks/batch", body)
    for target in ("/v1/tasks", "/v1/tasks/batch"):
        await api.post(target, b"x" * 2_000_000)
        await api.post(target, b"{}", Content_Type="text/plain")
    await api.put("/v1/tasks/a", b"x" * 2_000_000)
    await api.put("/v1/tasks/a", b"{}", Content_Type="text/plain")
    for body in (submission(), submission(), submission(priority=1)):
        await api.put("/v1/tasks/a", body)
    await api.post("/v1/tasks/batch", {"items": [submission(), submission(priority=10)]})
    etag = (await api.get(path)).headers["ETag"]
    await api.get(path, If_None_Match=etag)
    await api.get(f"{path}?wait=x")
    await api.get("/v1/tasks")
    await api.get("/v1/tasks?page_size=x")
    await api.delete(path)
    await api.post(f"{path}/retry")
    running = await api.accepted()
    await store.start(await row_of(store, running))
    await api.post(f"/v1/tasks/{running['id']}/cancel")
    await api.post(f"{path}/cancel")
    await api.post(f"{path}/cancel")
    await api.post(f"{path}/retry")
    await api.post(f"{path}/cancel")
    await api.delete(path)
    for call in (api.get(path), api.delete(path), api.post(f"{path}/cancel"), api.post(f"{path}/retry")):
        await call


async def _use_pictures(api: Api, store: Store, settings: Settings) -> None:
    await api.ask("POST", "/v1/uploads", content=_png())
    await api.ask("POST", "/v1/uploads", content=b"text")
    await api.ask("POST", "/v1/uploads", content=b"x" * 20_000_001)
    started = (await store.start(await row_of(store, await api.accepted()))).tasks[0]
    (picture,) = started.recognitions
    media = Media(MediaStoreSettings(folder=settings.media.dir))
    key = await media.put_annotated(started.id, picture.id, _png())
    await store.record(started, recognised(picture, media_key=key), end=Finished(status=TaskStatus.COMPLETED))
    path = f"/v1/tasks/{started.id}/recognitions/{picture.id}/image"
    await api.get(path, If_None_Match=(await api.get(path)).headers["ETag"])
    await api.get(f"/v1/tasks/{started.id}/recognitions/1/image")


async def _use_the_rest(api: Api, store: Store) -> None:
    task = await api.accepted(submission(callback_url="https://erp.example/hook"))
    await api.post(f"/v1/tasks/{task['id']}/cancel")
    (delivery,) = (await api.get("/v1/deliveries")).json["items"]
    await api.get("/v1/deliveries?status=x")
    await api.get(f"/v1/deliveries/{delivery['id']}")
    await api.get("/v1/deliveries/1")
    await api.post("/v1/deliveries/1/replay")
    await api.post(f"/v1/deliveries/{delivery['id']}/replay")
    await deliver(store, int(delivery["id"]))
    await api.post(f"/v1/deliveries/{delivery['id']}/replay")
    for path in ("/v1/models", "/v1/stats", "/v1/workers", "/livez", "/readyz", "/metrics"):
        await api.get(path)
    for path in ("/openapi.json", "/docs", "/docs/start.js", "/docs/nothing", "/recognition/1"):
        await api.get(path)
    await api.post("/recognition", submission())


_SELECTING = ("/v1/tasks/cancel", "/v1/tasks/retry", "/v1/deliveries/replay")
_TRIAL = "/v1/systems/north-ranch/test-callback"


async def _use_what_operators_may(north: Api, operator: Api) -> None:
    for path in ("/v1/queues/solo/pause", "/v1/queues/solo/resume", "/v1/systems/north-ranch/secret/rotate"):
        await north.post(path)
        await operator.post(path)
        await operator.post(path.replace("solo", "nothing").replace("north-ranch", "nobody"))
    for path in (*_SELECTING, _TRIAL):
        await north.post(path, {"ids": ["1"]})
        await north.post(path, b"{")
        await north.post(path, {"colour": "red"})
        await north.post(path, b"x" * 2_000_000)
        await north.post(path, b"{}", Content_Type="text/plain")
    for system in ("north-ranch", "nobody"):
        await operator.post(_TRIAL.replace("north-ranch", system), {"url": "http://localhost/"})
    task = await north.accepted()
    for task_id in (task["id"], "1"):
        await north.get(f"/v1/tasks/{task_id}/history")


async def _everything(api: Api) -> set[tuple[str, str, str]]:
    """Ask every operation once, as well as it goes."""
    for operation in OPERATIONS:
        path = re.sub(r"{\w+}", "1", operation.path).replace("/docs/1", "/docs/start.js")
        content = _png() if operation.body == "picture" else json.dumps(submission()).encode()
        if path.endswith("/batch"):
            content = json.dumps({"items": [submission()]}).encode()
        if operation.method == "put":
            path = path.replace("/1", "/a")
        headers = {"Content-Type": "application/json"}
        await api.ask(operation.method.upper(), path, content=content, headers=headers)
    return api.contract.seen


def _png() -> bytes:
    content = BytesIO()
    Image.new("RGB", (8, 8)).save(content, "PNG")
    return content.getvalue()
