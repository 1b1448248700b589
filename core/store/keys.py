"""Keys that a new task brings, and the tasks that hold them already.

A request with an `Idempotency-Key` that asks for the first of its dedup key may be answered with a
task that another request made, under another key or none. Such a key stands in a table of its own;
whoever brings both kinds writes it there whatever the answer, so that of two at once one is second.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, delete, insert, select, tuple_, update
from sqlalchemy.ext.asyncio import AsyncConnection

from core.domain.task import Task
from core.store.endings import by_id
from core.store.tables import remembered_key, task
from core.store.tasks import load_tasks

KEY_LIFE = timedelta(hours=24)

_Key = tuple[str, str | None]
"""A system and a key of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Remembered:
    """What an idempotency key was answered with, for which request, and until when it stands."""

    task: Task
    request_sha256: str
    expires_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Prior:
    """What holds a key that a new task brings, by system and key."""

    idempotency: dict[_Key, Remembered]
    client: dict[_Key, Task]
    slot: dict[_Key, Task]


def keys_of(new: Task) -> set[tuple[str, str, str]]:
    """What no two rows may share, by system and kind."""
    kinds = (("i", new.idempotency_key), ("c", new.client_id), ("d", new.dedup_key))
    return {(new.system_code, kind, key) for kind, key in kinds if key is not None}


def waves(group: Sequence[Task]) -> list[list[Task]]:
    """Split a group so that two tasks with the same key go one after the other."""
    waves: list[tuple[list[Task], set[tuple[str, str, str]]]] = []
    for new in group:
        keys = keys_of(new)
        # The last wave with one of its keys, plus one, keeps the order of arrival.
        place = max((i + 1 for i, (_, taken) in enumerate(waves) if taken & keys), default=0)
        if place == len(waves):
            waves.append(([], set()))
        waves[place][0].append(new)
        waves[place][1].update(keys)
    return [members for members, _ in waves]


async def load_prior(connection: AsyncConnection, wave: Sequence[Task]) -> Prior:
    """Find the holders of all keys that these tasks bring."""
    return Prior(
        idempotency=await _load_remembered(connection, _brought(wave, "idempotency_key")),
        client=await _holders(connection, task.c.client_id, _brought(wave, "client_id"), "client_id"),
        slot=await _holders(connection, task.c.dedup_slot, _brought(wave, "dedup_key"), "dedup_key"),
    )


async def remember(connection: AsyncConnection, answered: Sequence[tuple[Task, Task]], at: datetime) -> None:
    """Note keys of new tasks, each with the task that is its answer, where the row cannot hold them."""
    rows = [
        {
            "system_code": new.system_code,
            "idempotency_key": new.idempotency_key,
            "task_id": answer.id,
            "request_sha256": new.request_sha256,
            "expires_at": at + KEY_LIFE,
        }
        for new, answer in answered
        if new.idempotency_key is not None and new.dedup_mode == "keep_first"
    ]
    if rows:
        await connection.execute(insert(remembered_key), rows)


async def forget(connection: AsyncConnection, new: Task) -> None:
    """Let an idempotency key whose time is over be used anew."""
    of_row, apart = (
        (table.c.system_code == new.system_code, table.c.idempotency_key == new.idempotency_key)
        for table in (task, remembered_key)
    )
    await connection.execute(update(task).where(*of_row).values(idempotency_key=None))
    await connection.execute(delete(remembered_key).where(*apart))


def _brought(wave: Sequence[Task], name: str) -> list[_Key]:
    return [(new.system_code, getattr(new, name)) for new in wave if getattr(new, name) is not None]


async def _load_remembered(connection: AsyncConnection, keys: list[_Key]) -> dict[_Key, Remembered]:
    holders = await _holders(connection, task.c.idempotency_key, keys, "idempotency_key")
    found = {
        key: Remembered(
            task=held,
            request_sha256=held.request_sha256,
            expires_at=held.created_at and held.created_at + KEY_LIFE,
        )
        for key, held in holders.items()
    }
    missing = [key for key in keys if key not in found]
    if not missing:
        return found
    mine = tuple_(remembered_key.c.system_code, remembered_key.c.idempotency_key).in_(missing)
    rows = (await connection.execute(select(remembered_key).where(mine))).all()
    answers = (
        by_id(await load_tasks(connection, task.c.id.in_([row.task_id for row in rows]))) if rows else {}
    )
    return found | {
        (row.system_code, row.idempotency_key): Remembered(
            task=answers[row.task_id], request_sha256=row.request_sha256, expires_at=row.expires_at
        )
        for row in rows
        if row.task_id in answers
    }


async def _holders(
    connection: AsyncConnection, column: ColumnElement[str | None], keys: list[_Key], name: str
) -> dict[_Key, Task]:
    if not keys:
        return {}
    held = await load_tasks(connection, tuple_(task.c.system_code, column).in_(keys))
    return {(one.system_code, getattr(one, name)): one for one in held}
