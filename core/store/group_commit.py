"""Many requests, one transaction: those that arrive while a flush is under way share the next one."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from time import monotonic
from typing import Generic, Self, TypeVar

from core.errors import IntakeFull, Unavailable

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True, kw_only=True)
class Company:
    """For how many a group waits, and how long at most."""

    wanted: Callable[[], int]
    """Asked anew whenever one arrives; 1 = do not wait now."""
    limit_seconds: float


class GroupCommit(Generic[Item, Result]):
    """Hands what callers submit to `flush` in groups and gives each its own result back.

    `flush` gets the items of a group in the order of arrival and answers one result or exception
    for each; see `flush_by_halves` for what happens when it raises. An idle group flushes at once:
    nothing waits for company, unless `company` says so.
    """

    def __init__(
        self,
        flush: Callable[[Sequence[Item]], Awaitable[Sequence[Result | Exception]]],
        *,
        max_group: int,
        max_pending: int,
        company: Company | None = None,
    ) -> None:
        self._flush, self._company = flush, company
        self._max_group, self._max_pending = max_group, max_pending
        self._pending: list[tuple[Item, asyncio.Future[Result]]] = []
        self._arrived = asyncio.Event()
        self._closing = False
        self._is_busy = False
        self._moved_at = monotonic()
        self._runner: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._runner = asyncio.create_task(self._run(), name="group-commit")
        return self

    async def __aexit__(self, *exc: object) -> None:
        self._closing = True
        self._arrived.set()
        if self._runner is not None:
            await self._runner

    @property
    def depth(self) -> int:
        """How many items wait for the next flush."""
        return len(self._pending)

    @property
    def stalled_seconds(self) -> float:
        """How long items have waited without any group being done; 0 when there are none."""
        return monotonic() - self._moved_at if self._is_busy or self._pending else 0.0

    async def submit(self, item: Item) -> Result:
        """Commit `item` with its group; raises IntakeFull at the bound, else what `flush` gave for it.

        Cancelling the caller does not undo the commit: the item is whole, or not there at all.
        """
        if len(self._pending) >= self._max_pending or self._closing:
            raise IntakeFull
        future: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        if not self._pending and not self._is_busy:
            self._moved_at = monotonic()
        self._pending.append((item, future))
        self._arrived.set()
        return await future

    async def _run(self) -> None:
        while True:
            await self._arrived.wait()
            self._arrived.clear()
            while self._pending:
                await self._wait_for_company()
                group, self._pending = self._pending[: self._max_group], self._pending[self._max_group :]
                self._is_busy = True
                await self._settle(group)
                self._is_busy, self._moved_at = False, monotonic()
            if self._closing:
                return

    async def _wait_for_company(self) -> None:
        company = self._company
        if company is None:
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(company.limit_seconds):
                while not self._closing and len(self._pending) < min(company.wanted(), self._max_group):
                    self._arrived.clear()
                    await self._arrived.wait()

    async def _settle(self, group: list[tuple[Item, asyncio.Future[Result]]]) -> None:
        group = [(item, future) for item, future in group if not future.cancelled()]
        if not group:
            return
        results = await flush_by_halves(self._flush, [item for item, _ in group])
        for (_, future), result in zip(group, results, strict=True):
            if future.done():
                continue
            if isinstance(result, Exception):
                future.set_exception(result)
            else:
                future.set_result(result)


async def flush_by_halves(
    flush: Callable[[Sequence[Item]], Awaitable[Sequence[Result | Exception]]], items: Sequence[Item]
) -> list[Result | Exception]:
    """Flush items together; when that fails, each half by itself, so no bad item fails its neighbours.

    An Unavailable is nobody's fault in particular and fails them all. A flush that raises must have
    changed nothing.
    """
    try:
        return list(await flush(items))
    except Unavailable as error:
        return [error] * len(items)
    except Exception as error:
        if len(items) == 1:
            return [error]
    middle = len(items) // 2
    return [*await flush_by_halves(flush, items[:middle]), *await flush_by_halves(flush, items[middle:])]
