"""The HTTP door of a whole web process, asked in memory; database, Redis and pictures are real."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast
from uuid import uuid4

from quart import Quart
from quart.testing import QuartClient
from werkzeug.datastructures import Headers as ReceivedHeaders

from app.factory import create_app
from core.domain.delivery import DeliveryStatus, DeliveryTry
from core.domain.retry import TryOutcome
from core.domain.routing import member_of_delivery
from core.domain.task import Task
from core.settings import Settings, load_settings
from core.store.deliveries import start_deliveries
from core.store.delivery_log import get_deliveries
from core.store.tasks import get_task
from core.store.tries import TryRecord, record_tries
from tests.support.contract import Contract
from tests.support.store import Store

SECRET_KEY = "0123456789abcdef" * 3
PUBLIC_URL = "https://muster.example"
Headers = Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came back."""

    status: int
    headers: ReceivedHeaders
    content: bytes

    @property
    def json(self) -> Any:
        """The parsed body."""
        return json.loads(self.content)

    @property
    def pointers(self) -> list[str]:
        """Where the faults of a problem are."""
        return [fault["pointer"] for fault in self.json["errors"]]


class Api:
    """Asks one web process, and holds every answer against its OpenAPI document."""

    def __init__(self, app: Quart, client: QuartClient, headers: Headers, contract: Contract) -> None:
        self.app, self._client, self._headers, self.contract = app, client, headers, contract

    def with_key(self, key: str) -> Api:
        """The same door, asked under an API key."""
        headers = {**self._headers, "Authorization": f"Bearer {key}"}
        return Api(self.app, self._client, headers, self.contract)

    async def ask(
        self, method: str, path: str, *, content: bytes | None = None, headers: Headers | None = None
    ) -> Answer:
        """Send a request as it is."""
        sent = {**self._headers, **(headers or {})}
        found = await self._client.open(path, method=method, data=content, headers=sent)
        received = await found.get_data(as_text=False)
        if method not in ("HEAD", "OPTIONS"):
            media_type = found.headers.get("Content-Type", "")
            self.contract.check(method, path, found.status_code, media_type, received)
        return Answer(status=found.status_code, headers=found.headers, content=received)

    async def get(self, path: str, **headers: str) -> Answer:
        """GET; underscores in names of headers stand for hyphens."""
        return await self.ask("GET", path, headers=_named(headers))

    async def delete(self, path: str) -> Answer:
        """DELETE."""
        return await self.ask("DELETE", path)

    async def post(self, path: str, body: Any = None, **headers: str) -> Answer:
        """POST a JSON body; bytes are sent as they are."""
        return await self._send("POST", path, body, headers)

    async def put(self, path: str, body: Any, **headers: str) -> Answer:
        """PUT a JSON body."""
        return await self._send("PUT", path, body, headers)

    async def accepted(self, body: Any = None, **headers: str) -> Any:
        """Submit a task that must be accepted, and give it."""
        answer = await self.post("/v1/tasks", submission() if body is None else body, **headers)
        assert answer.status == 202, answer.content
        return answer.json

    async def _send(self, method: str, path: str, body: Any, headers: dict[str, str]) -> Answer:
        if body is None:
            return await self.ask(method, path, headers=_named(headers))
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        return await self.ask(
            method, path, content=content, headers={"Content-Type": "application/json"} | _named(headers)
        )


def _named(headers: dict[str, str]) -> dict[str, str]:
    return {name.replace("_", "-"): value for name, value in headers.items()}


def web_settings(database_url: str, redis_url: str, folder: Path, **changes: Any) -> Settings:
    """Give the settings of a web process without authentication."""
    return load_settings(
        **{
            "auth": "off",
            "secret_key": SECRET_KEY,
            "public_url": PUBLIC_URL,
            "time_zone": "Europe/Berlin",
            "database": {"url": database_url},
            "redis": {"url": redis_url, "timeout_seconds": 0.5},
            "media": {"dir": folder},
        }
        | changes
    )


@asynccontextmanager
async def open_api(settings: Settings) -> AsyncIterator[Api]:
    """Start a web process's application and stop it again."""
    app = create_app(settings)
    async with app.test_app() as started:
        yield Api(app, cast(QuartClient, started.test_client()), {}, Contract(app))


def camera(**changes: Any) -> dict[str, Any]:
    """Give a camera that is good as it is."""
    return {"camera_id": "gate-3", "image_url": "https://cams.example/gate-3.jpg"} | changes


def submission(**changes: Any) -> dict[str, Any]:
    """Give a submission that is good as it is."""
    body = {
        "business_id": "patrol-0717",
        "system_code": "north-ranch",
        "prompt": "COW",
        "cameras": [camera()],
    }
    return {name: value for name, value in (body | changes).items() if value is not ...}


def changed(settings: Settings, **changes: Any) -> Settings:
    """Give other settings, checked like all."""
    return Settings.model_validate(settings.model_dump() | changes)


async def row_of(store: Store, told: Any) -> Task:
    """Give the row of a task that was told."""
    found = await get_task(store.db, int(told["id"]))
    assert found is not None
    return found


async def deliver(store: Store, delivery_id: int, status: DeliveryStatus = DeliveryStatus.DELIVERED) -> None:
    """Record that a delivery was received, or has ended otherwise, as a worker would."""
    (pending,) = await get_deliveries(store.db, [delivery_id])
    worker_id, token = await store.open_worker(), uuid4().hex
    (sending,) = await start_deliveries(
        store.db, worker_id=worker_id, token=token, members=[member_of_delivery(pending)], timeout_seconds=15
    )
    made = DeliveryTry(status_code=200, duration_ms=12.5, reply="thank you")
    (log_id,) = await store.ids.take()
    outcome = TryOutcome(status=status)
    entry = TryRecord(sent=sending, token=token, made=made, outcome=outcome, log_id=log_id)
    assert await record_tries(store.db, [entry])
