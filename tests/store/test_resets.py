"""Connections to a database that are cut under the loop that web processes and workers run on."""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
from collections import Counter
from contextlib import suppress

import pytest
import uvloop
from sqlalchemy import make_url, text
from sqlalchemy.ext.asyncio import AsyncConnection

from core.errors import DatabaseUnavailable
from core.settings import DatabaseSettings
from core.store.engine import Database
from core.store.failures import as_unavailable
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


def _reset_everybody(listener: socket.socket) -> None:
    with suppress(OSError):  # the listener was closed: the test is over
        while True:
            connection, _ = listener.accept()
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            connection.close()


async def _connect_while_busy(url: str) -> Counter[str]:
    """Open connections on a loop that is busy: it often learns of a connection and of its reset at once."""
    db, seen = Database(DatabaseSettings(url=url)), Counter[str]()

    async def ask() -> None:
        for _ in range(20):
            with pytest.raises(DatabaseUnavailable):
                await db.ping()
            seen["away"] += 1
            sum(range(200_000))

    async with asyncio.timeout(40), asyncio.TaskGroup() as group:
        for _ in range(_CALLERS):
            group.create_task(ask())
    await db.close()
    return seen


@pytest.mark.parametrize("kind", ["mysql+asyncmy", "postgresql+asyncpg"])
def test_a_reset_at_the_moment_of_connecting_is_the_database_away(kind: str) -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=200) as listener:
        threading.Thread(target=_reset_everybody, args=(listener,), daemon=True).start()
        url = f"{kind}://nobody:nothing@127.0.0.1:{listener.getsockname()[1]}/none"
        seen = uvloop.run(_connect_while_busy(url))
        listener.shutdown(socket.SHUT_RDWR)
    assert seen == {"away": _CALLERS * 20}


@pytest.mark.parametrize(
    "said",
    ["Transport does not expose socket instance", "unable to perform operation; the handler is closed"],
)
async def test_what_drivers_say_of_such_a_reset_is_the_database_away(said: str) -> None:
    with pytest.raises(DatabaseUnavailable), as_unavailable():
        raise RuntimeError(said)


async def test_another_error_is_nobody_being_away() -> None:
    with pytest.raises(RuntimeError, match="a mistake"), as_unavailable():
        raise RuntimeError("a mistake")
