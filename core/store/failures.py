"""What drivers raise, in our words: whose fault it was, and whether the same may succeed when run anew."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from core.errors import DatabaseUnavailable

# MySQL: deadlock, lock wait time-out. PostgreSQL: serialization failure, deadlock.
_TRANSIENT = frozenset({1213, 1205, "40001", "40P01"})
# Connection lost, out of resources, stopped by an operator or shutting down.
_ILL_CLASSES = ("08", "53", "57")
# What asyncmy and uvloop raise, as a RuntimeError, when a connection is reset while it is being opened.
_RESET_WHILE_OPENED = ("does not expose socket", "the handler is closed")
# The fault of a value that was sent, though drivers report some as if the database were ill: wrong values
# and checks that a row violates; MySQL has no class for a wrong string and for its checks.
_ROW_FAULT_CLASSES = ("22", "23")
_ROW_FAULTS = frozenset({1366, 3819})


class Transient(DatabaseUnavailable):
    """The same transaction may succeed when it is run again."""


@contextmanager
def as_unavailable() -> Iterator[None]:
    """Turn what drivers raise into DatabaseUnavailable; `Transient` when it should be run again.

    asyncmy turns a cancellation during a connect into an error of its own: it is raised here.
    """
    task = asyncio.current_task()
    cancellations = task.cancelling() if task else 0
    try:
        yield
    except (DBAPIError, PoolTimeoutError, TimeoutError, OSError, RuntimeError) as error:
        if task is not None and task.cancelling() > cancellations:
            raise asyncio.CancelledError from error
        _tell_unavailable(error)
        raise


@contextmanager
def anew_when_lost() -> Iterator[None]:
    """Have a transaction run anew whose connection broke before its commit was asked for."""
    try:
        yield
    except DBAPIError as error:
        if error.connection_invalidated:
            raise Transient from error
        raise


def is_answer(error: DBAPIError) -> bool:
    """Whether the server itself said no, and did not merely fail to answer."""
    number, state = _codes(error)
    # MySQL numbers what its servers say from 1000 on, what its clients say from 2000 on.
    return bool(state) or (isinstance(number, int) and number < 2000)


def _tell_unavailable(error: Exception) -> None:
    """Raise DatabaseUnavailable when the database is at fault."""
    if isinstance(error, DBAPIError):
        if _is_transient(error):
            raise Transient from error
        if error.connection_invalidated or _is_ill(error):
            raise DatabaseUnavailable from error
    elif isinstance(error, (PoolTimeoutError, TimeoutError, OSError)) or _is_reset(error):
        raise DatabaseUnavailable from error


def _is_reset(error: Exception) -> bool:
    return isinstance(error, RuntimeError) and any(told in str(error) for told in _RESET_WHILE_OPENED)


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
