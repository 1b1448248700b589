"""Connections to a database that are cut under the loop that web processes and workers run on."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest
import uvloop
from sqlalchemy import make_url, text
from sqlalchemy.ext.asyncio import AsyncConnection

from core.errors import DatabaseUnavailable
from core.settings import DatabaseSettings
from core.store.engine import Database
from tests.chaos.fault_proxy import FaultProxy, to_port
from tests.chaos.faults import Weather
from tests.support.servers import PrivateMariadb, PrivatePostgresql

_CALLERS, _CALLS, _CUTS = 8, 60, 40


async def _ask_thrice(connection: AsyncConnection) -> None:
    for _ in range(3):
        await connection.execute(text("SELECT 1"))


async def _call(db: Database, seen: Counter[str]) -> None:
    for _ in range(_CALLS):
        try:
            await db.write(_ask_thrice)
            seen["answered"] += 1
        except DatabaseUnavailable as error:
            seen[type(error.__cause__).__name__] += 1


async def _call_through_resets(server: PrivateMariadb | PrivatePostgresql) -> Counter[str]:
    database = make_url(await server.create_database()).database
    seen: Counter[str] = Counter()
    async with FaultProxy(to_port(server.port)) as proxy:
        url = make_url(server.tcp_url(str(database))).set(port=proxy.port)
        db = Database(DatabaseSettings(url=url.render_as_string(hide_password=False)))
        async with asyncio.timeout(40), asyncio.TaskGroup() as group:
            callers = [group.create_task(_call(db, seen)) for _ in range(_CALLERS)]
            for _ in range(_CUTS):
                await asyncio.sleep(0.02)
                proxy.disturb(Weather.RESET)
            await asyncio.wait(callers)
        await db.close()
    return seen


@pytest.mark.parametrize("kind", [PrivateMariadb, PrivatePostgresql])
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_reset_under_uvloop_is_the_database_away_and_no_other_error(
    kind: type[PrivateMariadb | PrivatePostgresql],
) -> None:
    with kind() as server:
        seen = uvloop.run(_call_through_resets(server))
    assert seen["answered"] > 0
    assert seen.total() == _CALLERS * _CALLS
    assert seen.total() > seen["answered"]
