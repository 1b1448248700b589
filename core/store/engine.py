"""Connections and transactions: the one place that retries."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from time import monotonic
from typing import Any, TypeVar

from sqlalchemy import event, select
from sqlalchemy.engine import make_url
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import DBAPIError, DisconnectionError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import AsyncAdaptedQueuePool, ConnectionPoolEntry, NullPool

from core.errors import DatabaseUnavailable
from core.settings import DatabaseSettings
from core.store.failures import Transient, anew_when_lost, as_unavailable, is_answer
from core.store.sqlite import connector
from core.store.types import server_now
from core.watch import Limit, Watch

T = TypeVar("T")

_TRIES = 5
_PING_AFTER_SECONDS = 1.0


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
        # A file does not hang as a server does; a writer that waits for its turn is no sign of it.
        self._watch = (
            None if self.dialect == "sqlite" else Watch("database", self._answers, DatabaseUnavailable)
        )
        self._apart = create_async_engine(settings.url, poolclass=NullPool)

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncConnection]:
        """Open a connection for reading; raises DatabaseUnavailable."""
        with as_unavailable():
            async with self._limit(), self._readers.connect() as connection:
                yield connection

    async def write(self, work: Callable[[AsyncConnection], Awaitable[T]]) -> T:
        """Run `work` in one transaction and commit it; it runs anew after a deadlock or on a dead connection.

        Raises:
            DatabaseUnavailable: not reachable, or not in time. Whether the transaction was
                committed is then unknown; every caller's statements are safe to send again.
        """
        for attempt in range(1, _TRIES + 1):
            try:
                with as_unavailable():
                    async with self._limit(), self._writer.begin() as connection:
                        with anew_when_lost():
                            return await work(connection)
            except Transient:
                if attempt == _TRIES:
                    raise DatabaseUnavailable from None
                await asyncio.sleep(random.uniform(0, 0.02 * 2**attempt))
        raise AssertionError("unreachable")

    def _limit(self) -> Limit:
        return Limit(self._timeout_seconds, self._watch)

    async def _answers(self) -> bool:
        """Whether the server gives a sign of life, be it a refusal; on a connection of its own."""
        try:
            async with self._apart.connect() as connection:
                await connection.execute(select(1))
        except DBAPIError as error:
            return is_answer(error)
        except OSError:
            return False
        return True

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
        if self._watch is not None:
            await self._watch.close()
        await self._readers.dispose()
        if self._writer is not self._readers:
            await self._writer.dispose()


async def write_again(db: Database, work: Callable[[AsyncConnection], Awaitable[T]]) -> T:
    """Run `work` as `Database.write` does, once more when no answer came.

    For work that finds what an earlier run of it has done: its commit may have succeeded.
    """
    try:
        return await db.write(work)
    except DatabaseUnavailable:
        return await db.write(work)


_NOW = select(server_now())


async def now(connection: AsyncConnection) -> datetime:
    """The database server's clock, as an aware datetime."""
    found: datetime = (await connection.execute(_NOW)).scalar_one()
    return found


def _server_engine(settings: DatabaseSettings, *, is_mysql: bool) -> AsyncEngine:
    connect: dict[str, Any] = (
        {"connect_timeout": settings.connect_timeout_seconds}
        if is_mysql
        else {
            "timeout": settings.connect_timeout_seconds,
            "command_timeout": settings.statement_timeout_seconds,
        }
    )
    engine = create_async_engine(
        settings.url,
        pool_size=settings.pool_size,
        max_overflow=0,
        pool_timeout=settings.pool_timeout_seconds,
        # Every transaction here is ended by whoever began it; a rollback after each commit is a round trip.
        pool_reset_on_return=None,
        pool_recycle=settings.recycle_seconds,
        isolation_level="READ COMMITTED",
        connect_args=connect,
    )
    _ask_after_rest(engine)
    return engine


def _ask_after_rest(engine: AsyncEngine) -> None:
    """Ping a connection before it is lent, unless it has just been used.

    SQLAlchemy's `pool_pre_ping` pings every time, which is a round trip for every transaction. A
    connection that broke while it was busy shows by the transaction, which runs anew.
    """

    @event.listens_for(engine.sync_engine, "checkin")
    def note(_connection: Any, record: ConnectionPoolEntry) -> None:
        record.info["used_at"] = monotonic()

    @event.listens_for(engine.sync_engine, "checkout")
    def ask(connection: DBAPIConnection, record: ConnectionPoolEntry, _proxy: object) -> None:
        if monotonic() - record.info.get("used_at", monotonic()) < _PING_AFTER_SECONDS:
            return
        dialect = engine.dialect
        try:
            is_alive = dialect.do_ping(connection)
        except dialect.loaded_dbapi.Error as error:
            if not dialect.is_disconnect(error, connection, None):
                raise
            is_alive = False
        if not is_alive:
            raise DisconnectionError


def _sqlite_engine(settings: DatabaseSettings, *, immediate: bool) -> AsyncEngine:
    engine = create_async_engine(
        settings.url,
        async_creator=connector(settings.url),
        poolclass=AsyncAdaptedQueuePool,
        pool_size=1 if immediate else settings.pool_size,
        max_overflow=0,
        pool_reset_on_return=None,
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
