"""Filling tables by the thousand: the database makes the rows itself, from a row of numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from sqlalchemy import ColumnElement, FromClause, Table, cast, column, insert, literal, select, table
from sqlalchemy import types as sa_types
from sqlalchemy.ext.asyncio import AsyncConnection

from core.domain.task import TaskStatus
from core.ids import first_id_at
from core.store.engine import Database
from core.store.tables import delivery, delivery_attempt, recognition, task, task_event
from core.store.types import server_now

_AT_ONCE = 10_000
_MS_OF_ID = 1 << 22
_BODY = b'{"type": "task.completed", "data": {"id": "' + b"7" * 1200 + b'"}}'


@dataclass(frozen=True, slots=True, kw_only=True)
class Filling:
    """Tasks of one picture, made at even distances between two ages."""

    count: int
    status: TaskStatus
    oldest_seconds: float
    newest_seconds: float = 0.0

    @property
    def step_seconds(self) -> float:
        """From one to the next."""
        return (self.oldest_seconds - self.newest_seconds) / self.count


async def fill(db: Database, wanted: Filling) -> None:
    """Insert them, ended ones with history, a picture with findings, and a callback that was received."""
    oldest_ms = int(wanted.oldest_seconds * 1000)
    first_id = first_id_at(await db.now()) - oldest_ms * _MS_OF_ID
    for first in range(0, wanted.count, _AT_ONCE):
        await db.write(partial(_fill, db.dialect, wanted, first_id, first))


async def _fill(
    dialect: str, wanted: Filling, first_id: int, first: int, connection: AsyncConnection
) -> None:
    numbers = _numbers(dialect)
    number = numbers.c.i + first
    place = _Place(
        id=first_id + number * (int(wanted.step_seconds * 1000) * _MS_OF_ID),
        at=server_now(number * wanted.step_seconds - wanted.oldest_seconds),
        status=wanted.status,
    )
    count = min(_AT_ONCE, wanted.count - first)
    tables = [(task, _task(place)), (recognition, _recognition(place))]
    if wanted.status.is_final:
        tables += [(task_event, _event(place, n)) for n in range(3)]
        tables += [(delivery, _delivery(place)), (delivery_attempt, _attempt(place))]
    for into, values in tables:
        await _insert(connection, into, values, numbers, count)


async def _insert(
    connection: AsyncConnection, into: Table, values: Mapping[str, Any], numbers: FromClause, count: int
) -> None:
    columns = [_as_column(into, name, value) for name, value in values.items()]
    rows = select(*columns).select_from(numbers).where(numbers.c.i < count)
    await connection.execute(insert(into).from_select(list(values), rows))


def _as_column(into: Table, name: str, value: Any) -> ColumnElement[Any]:
    if isinstance(value, ColumnElement):
        return value.label(name)
    given = literal(value, into.c[name].type)
    return (cast(given, sa_types.LargeBinary) if isinstance(value, bytes) else given).label(name)


def _numbers(dialect: str) -> FromClause:
    """The numbers from 0 to 9,999."""
    if dialect == "mysql":
        sequence = table("seq_0_to_9999", column("seq", sa_types.BigInteger))
        return select(sequence.c.seq.label("i")).subquery()
    begin = select(literal(0, sa_types.BigInteger).label("i")).cte("n", recursive=True)
    return begin.union_all(select(begin.c.i + 1).where(begin.c.i < _AT_ONCE - 1))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Place:
    """What differs from task to task."""

    id: ColumnElement[int]
    at: ColumnElement[Any]
    status: TaskStatus


def _task(place: _Place) -> dict[str, Any]:
    ended = place.at if place.status.is_final else None
    return {
        "id": place.id,
        "system_code": "bench",
        "business_id": "bench",
        "request_sha256": "0" * 64,
        "prompt": "COW",
        "priority": 5,
        "cost": 1,
        "timeout_seconds": 60,
        "queue_ttl_seconds": 604_800,
        "callback_url": "https://receiver.example/hook",
        "callback_events": ["task.completed"],
        "callback_shape": "event",
        "metadata": {},
        "status": place.status.value,
        "attempt": 1 if ended is not None else 0,
        "failures": 0,
        "crashes": 0,
        "series": 1,
        "queue_expires_at": server_now(604_800.0),
        "cancel_requested": False,
        "created_at": place.at,
        "started_at": ended,
        "completed_at": ended,
        "updated_at": place.at,
    }


def _recognition(place: _Place) -> dict[str, Any]:
    found = {"objects": [{"label": "COW", "score": 0.9, "box": [1, 2, 3, 4], "areas": [0]}], "total": 1}
    return {
        "id": place.id,
        "task_id": place.id,
        "position": 0,
        "camera_id": "gate-3",
        "image_url": "https://cams.example/gate-3.jpg",
        "monitor_areas": [],
        "capture_time": place.at,
        "model": "ssdlite",
        "status": "completed" if place.status.is_final else "pending",
    } | (found if place.status.is_final else {})


def _event(place: _Place, number: int) -> dict[str, Any]:
    told = {"from_status": "pending", "to_status": place.status.value, "attempt": 1, "why": "attempt ended"}
    return {"id": place.id + number, "task_id": place.id, "at": place.at, **told}


def _delivery(place: _Place) -> dict[str, Any]:
    return {
        "id": place.id,
        "task_id": place.id,
        "system_code": "bench",
        "series": 1,
        "event": "task.completed",
        "recognition_id": 0,
        "url": "https://receiver.example/hook",
        "host": "receiver.example",
        "flow": "0" * 12,
        "body": _BODY,
        "status": "delivered",
        "attempt": 1,
        "tries": 1,
        "crashes": 0,
        "created_at": place.at,
        "delivered_at": place.at,
        "updated_at": place.at,
    }


def _attempt(place: _Place) -> dict[str, Any]:
    told = {"attempt": 1, "duration_ms": 12.5, "status_code": 200, "reply": "thank you"}
    return {"id": place.id, "delivery_id": place.id, "at": place.at, **told}
