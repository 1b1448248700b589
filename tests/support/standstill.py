"""A web process whose submissions stand still, because another writer of its SQLite file has got stuck."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path

from tests.support.api import Answer, Api, submission

LIMIT_SECONDS = 4.0
"""Less than a writer of SQLite waits for its turn."""


async def stand_still(api: Api, database: Path) -> Answer:
    """Hold the database while a task is submitted, and give what /livez answers meanwhile."""
    await api.accepted()  # its system is known from now on
    with closing(sqlite3.connect(database, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        held = asyncio.ensure_future(api.post("/v1/tasks", submission()))
        answer = await _not_live(api)
        other.execute("ROLLBACK")
    assert (await held).status == 202
    return answer


async def _not_live(api: Api) -> Answer:
    async with asyncio.timeout(LIMIT_SECONDS):
        while True:
            answer = await api.get("/livez")
            if answer.status != 200:
                return answer
            await asyncio.sleep(0.01)
