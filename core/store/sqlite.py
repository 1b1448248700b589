"""SQLite's connection: one visit to its thread for a statement, where the driver alone makes four.

`aiosqlite` runs every call in a thread of the connection. A cursor that is made, run, read and closed
there in one go costs a third of one whose steps are asked for one by one.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Self

import aiosqlite
from sqlalchemy.engine import make_url

Parameters = Sequence[Any] | Mapping[str, Any]

_ROWS_AT_ONCE = 64


@dataclass(frozen=True, slots=True)
class _Ran:
    """What a statement left behind."""

    description: Any = None
    rowcount: int = -1
    lastrowid: int | None = None
    rows: Sequence[Any] = ()


class Cursor:
    """A cursor as SQLAlchemy's adapter wants it; its rows are here when `execute` returns."""

    arraysize = 1

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._ran = _Ran()

    async def __aenter__(self) -> Self:
        return self

    @property
    def description(self) -> Any:
        """The columns of the rows; None when there are none."""
        return self._ran.description

    @property
    def rowcount(self) -> int:
        """How many rows were changed."""
        return self._ran.rowcount

    @property
    def lastrowid(self) -> int | None:
        """The row that was added last."""
        return self._ran.lastrowid

    async def execute(self, statement: str, parameters: Parameters = ()) -> None:
        """Run a statement and read all its rows."""
        self._ran = await self._connection.visit(partial(_run, statement, parameters))

    async def executemany(self, statement: str, parameters: Sequence[Parameters]) -> None:
        """Run a statement once for each set of parameters."""
        self._ran = await self._connection.visit(partial(_run_many, statement, parameters))

    async def fetchall(self) -> Sequence[Any]:
        """The rows."""
        return self._ran.rows

    async def close(self) -> None:
        """Nothing is open."""


class Connection(aiosqlite.Connection):
    """A connection with such cursors."""

    def cursor(self) -> Any:
        """Make a cursor; nothing is asked of SQLite yet."""
        return Cursor(self)

    async def visit(self, errand: Callable[[sqlite3.Connection], _Ran]) -> _Ran:
        """Run something in the connection's thread."""
        execute: Callable[..., Awaitable[_Ran]] = self._execute
        return await execute(errand, self._conn)


def connector(url: str) -> Callable[[], Awaitable[Connection]]:
    """How `create_async_engine` opens connections to the database of a `sqlite+aiosqlite` url."""
    made = make_url(url)
    arguments, options = made.get_dialect()().create_connect_args(made)

    async def connect() -> Connection:
        connection = Connection(partial(sqlite3.connect, *arguments, **options), _ROWS_AT_ONCE)
        connection._thread.daemon = True  # as SQLAlchemy does: a lost connection must not keep the process
        await connection
        return connection

    return connect


def _run(statement: str, parameters: Parameters, connection: sqlite3.Connection) -> _Ran:
    return _leave(connection.execute(statement, parameters))


def _run_many(statement: str, parameters: Sequence[Parameters], connection: sqlite3.Connection) -> _Ran:
    return _leave(connection.executemany(statement, parameters))


def _leave(cursor: sqlite3.Cursor) -> _Ran:
    rows = cursor.fetchall() if cursor.description else ()
    ran = _Ran(cursor.description, cursor.rowcount, cursor.lastrowid, rows)
    cursor.close()
    return ran
