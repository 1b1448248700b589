"""Connections and transactions: the one place that retries, and that turns driver errors into ours."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import event, select
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import AsyncAdaptedQueuePool

from core.errors import DatabaseUnavailable
from core.settings import DatabaseSettings
from core.store.types import server_now

T = TypeVar("T")

_TRIES = 5
# MySQL: deadlock, lock wait time-out. PostgreSQL: serialization failure, deadlock.
_TRANSIENT = frozenset({1213, 1205, "40001", "40P01"})
# Connection lost, out of resources, stopped by an operator or shutting down.
_ILL_CLASSES = ("08", "53", "57")
# The fault of a value that was sent, though drivers report some as if the database were ill: wrong values
# and checks that a row violates; MySQL has no class for a wrong string and for its checks.
_ROW_FAULT_CLASSES = ("22", "23")
_ROW_FAULTS = frozenset({1366, 3819})


class Database:
    """The database of one process: readers, a writer, and `write`, which runs a transaction.

    SQLite has one writer connection per process whose transactions open with BEGIN IMMEDIATE,
    so that two writers wait for each other instead of failing half-way.
    """

    def __init__(self, settings: DatabaseSettings) -> None:
        self._settings = settings
        url = make_url(settings.url)
        self.dialect = {"mariadb": "mysql"}.get(url.get_backend_name(), url.get_backend_name())
        self._timeout_seconds = settings.statement_timeout_seconds
        if self.dialect == "sqlite":
            Path(url.database or "").parent.mkdir(parents=True, exist_ok=True)
            self._readers = _sqlite_engine(settings, immediate=False)
            self._writer = _sqlite_engine(settings, immediate=True)
        else:
            self._readers = self._writer = _server_engine(settings, is_mysql=self.dialect == "mysql")

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncConnection]:
        """Open a connection for reading; raises DatabaseUnavailable."""
        with _as_unavailable():
            async with asyncio.timeout(self._timeout_seconds), self._readers.connect() as connection:
                yield connection

    async def write(self, work: Callable[[AsyncConnection], Awaitable[T]]) -> T:
        """Run `work` in one transaction and commit it; `work` runs anew after a deadlock.

        Raises:
            DatabaseUnavailable: not reachable, or not in time. Whether the transaction was
                committed is then unknown; every caller's statements are safe to send again.
        """
        for attempt in range(1, _TRIES + 1):
            try:
                with _as_unavailable():
                    async with asyncio.timeout(self._timeout_seconds), self._writer.begin() as connection:
                        return await work(connection)
            except _Transient:
                if attempt == _TRIES:
                    raise DatabaseUnavailable from None
                await asyncio.sleep(random.uniform(0, 0.02 * 2**attempt))
        raise AssertionError("unreachable")

    async def ping(self) -> None:
        """Ask the database for an answer; raises DatabaseUnavailable."""
        async with self.read() as connection:
            await connection.execute(select(1))

    async def now(self) -> datetime:
        """The database server's clock."""
        async with self.read() as connection:
            return await now(connection)

    async def close(self) -> None:
        """Close all connections."""
        await self._readers.dispose()
        if self._writer is not self._readers:
            await self._writer.dispose()


async def now(connection: AsyncConnection) -> datetime:
    """The database server's clock, as an aware datetime."""
    found: datetime = (await connection.execute(select(server_now()))).scalar_one()
    return found


class _Transient(DatabaseUnavailable):
    """The same transaction may succeed when it is run again."""


@contextmanager
def _as_unavailable() -> Iterator[None]:
    """Turn what drivers raise into DatabaseUnavailable; `_Transient` when it should be run again.

    asyncmy turns a cancellation during a connect into an error of its own: it is raised here.
    """
    task = asyncio.current_task()
    cancellations = task.cancelling() if task else 0
    try:
        yield
    except (DBAPIError, PoolTimeoutError, TimeoutError, OSError) as error:
        if task is not None and task.cancelling() > cancellations:
            raise asyncio.CancelledError from error
        _tell_unavailable(error)
        raise


def _tell_unavailable(error: Exception) -> None:
    """Raise DatabaseUnavailable when the database is at fault."""
    if isinstance(error, DBAPIError):
        if _is_transient(error):
            raise _Transient from error
        if error.connection_invalidated or _is_ill(error):
            raise DatabaseUnavailable from error
    elif isinstance(error, (PoolTimeoutError, TimeoutError, OSError)):
        raise DatabaseUnavailable from error


def _is_transient(error: DBAPIError) -> bool:
    return not _TRANSIENT.isdisjoint(_codes(error)) or "database is locked" in str(error.orig)


def _is_ill(error: DBAPIError) -> bool:
    """Whether the database failed, and not what was sent to it."""
    number, state = _codes(error)
    if state.startswith(_ILL_CLASSES):
        return True
    # A value that the driver cannot encode is an InterfaceError of asyncpg, and a ValueError too.
    is_not_encoded = isinstance(getattr(error.orig, "__cause__", None), ValueError)
    if state.startswith(_ROW_FAULT_CLASSES) or number in _ROW_FAULTS or is_not_encoded:
        return False
    return isinstance(error, (OperationalError, InterfaceError))


def _codes(error: DBAPIError) -> tuple[object, str]:
    """MySQL's number (or another database's message) and the SQLSTATE, empty where there is none."""
    original = error.orig
    return next(iter(getattr(original, "args", ())), None), getattr(original, "sqlstate", None) or ""


def _server_engine(settings: DatabaseSettings, *, is_mysql: bool) -> AsyncEngine:
    connect: dict[str, Any] = (
        {"connect_timeout": settings.connect_timeout_seconds}
        if is_mysql
        else {
            "timeout": settings.connect_timeout_seconds,
            "command_timeout": settings.statement_timeout_seconds,
        }
    )
    return create_async_engine(
        settings.url,
        pool_size=settings.pool_size,
        max_overflow=0,
        pool_timeout=settings.pool_timeout_seconds,
        pool_pre_ping=True,
        pool_recycle=settings.recycle_seconds,
        isolation_level="READ COMMITTED",
        connect_args=connect,
    )


def _sqlite_engine(settings: DatabaseSettings, *, immediate: bool) -> AsyncEngine:
    engine = create_async_engine(
        settings.url,
        poolclass=AsyncAdaptedQueuePool,
        pool_size=1 if immediate else settings.pool_size,
        max_overflow=0,
        # A writer waits for its turn as long as its transaction may take; the connection is one.
        pool_timeout=settings.statement_timeout_seconds if immediate else settings.pool_timeout_seconds,
    )

    @event.listens_for(engine.sync_engine, "connect")
    def prepare(connection: Any, _record: object) -> None:
        # The driver would open transactions by itself, and only before some statements.
        connection.isolation_level = None
        cursor = connection.cursor()
        for pragma in (
            "journal_mode=WAL",
            "synchronous=FULL",
            "busy_timeout=5000",
        ):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    @event.listens_for(engine.sync_engine, "begin")
    def begin(connection: Any) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE" if immediate else "BEGIN")

    return engine
