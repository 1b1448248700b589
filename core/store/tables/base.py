"""What all tables share: names of constraints, the engine of MySQL, and short ways to write columns."""

from __future__ import annotations

from typing import Any

from sqlalchemy import BigInteger, Column, MetaData

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    }
)


MYSQL: dict[str, Any] = {
    "mysql_engine": "InnoDB",
    "mysql_charset": "utf8mb4",
    # Keys are compared byte by byte, as the other databases do; the default would take "A" for "a".
    "mysql_collate": "utf8mb4_bin",
}


def column(name: str, kind: Any, comment: str, *, null: bool = False, **more: Any) -> Column[Any]:
    """A column that says what it is for; filled unless `null`."""
    return Column(name, kind, comment=comment, nullable=null, **more)


def id_column(comment: str) -> Column[Any]:
    """The primary key `id`, made by us and not by the database."""
    return Column("id", BigInteger, primary_key=True, autoincrement=False, comment=comment)
