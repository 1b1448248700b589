"""Column types and SQL expressions that differ between the databases."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import ColumnElement, DateTime, Dialect, Float, LargeBinary, literal
from sqlalchemy import types as sa_types
from sqlalchemy.dialects import mysql, postgresql
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import JSON, TypeDecorator


class UtcDateTime(TypeDecorator[datetime]):
    """Aware UTC in Python; DATETIME(6), timestamptz, or fixed-width text with 6 digits in SQLite."""

    impl = DateTime
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> sa_types.TypeEngine[Any]:
        """Choose the native type of the database."""
        if dialect.name in ("mysql", "mariadb"):
            return dialect.type_descriptor(mysql.DATETIME(fsp=6))
        if dialect.name == "postgresql":
            return dialect.type_descriptor(postgresql.TIMESTAMP(timezone=True, precision=6))
        return dialect.type_descriptor(sa_types.String(26))

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> Any:
        """Turn an aware datetime into what the driver takes."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a time without a zone cannot be stored")
        utc = value.astimezone(UTC)
        if dialect.name == "postgresql":
            return utc
        bare = utc.replace(tzinfo=None)
        return bare.isoformat(" ", "microseconds") if dialect.name == "sqlite" else bare

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:
        """Turn what the driver gives into an aware datetime."""
        if value is None:
            return None
        found: datetime = datetime.fromisoformat(value) if dialect.name == "sqlite" else value
        return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)


class ServerNow(FunctionElement[datetime]):
    """The database server's clock in UTC, moved by a number of seconds.

    PostgreSQL uses `statement_timestamp()`: `now()` stands still within a transaction, and
    `clock_timestamp()` is volatile, so that no index could serve a comparison with it.
    """

    type = UtcDateTime()
    inherit_cache = True

    def __init__(self, plus_seconds: ColumnElement[Any]) -> None:
        super().__init__(plus_seconds)


def server_now(plus_seconds: float | ColumnElement[Any] = 0.0) -> ServerNow:
    """The server's time, a number (or a column) of seconds from now."""
    if isinstance(plus_seconds, (int, float)):
        return ServerNow(literal(float(plus_seconds), Float()))
    return ServerNow(plus_seconds)


@compiles(ServerNow, "sqlite")
def _sqlite_now(element: ServerNow, compiler: SQLCompiler, **kw: Any) -> str:
    seconds = compiler.process(element.clauses, **kw)
    return f"(strftime('%Y-%m-%d %H:%M:%f', 'now', ({seconds}) || ' seconds') || '000')"


@compiles(ServerNow, "mysql", "mariadb")
def _mysql_now(element: ServerNow, compiler: SQLCompiler, **kw: Any) -> str:
    return f"(UTC_TIMESTAMP(6) + INTERVAL ({compiler.process(element.clauses, **kw)}) SECOND)"


@compiles(ServerNow, "postgresql")
def _postgresql_now(element: ServerNow, compiler: SQLCompiler, **kw: Any) -> str:
    return f"(statement_timestamp() + ({compiler.process(element.clauses, **kw)}) * interval '1 second')"


LongBytes = LargeBinary().with_variant(mysql.LONGBLOB(), "mysql", "mariadb")
Json = JSON(none_as_null=True).with_variant(postgresql.JSONB(none_as_null=True), "postgresql")
