"""Recording what attempts come to: many records, one transaction."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from typing import Self

from sqlalchemy.ext.asyncio import AsyncConnection

from core.domain.delivery import Delivery
from core.domain.promises import Promises
from core.ids import Ids
from core.store.attempts import Record, Recorded, record
from core.store.endings import Ledger, take_spare_ids
from core.store.engine import Database, now
from core.store.group_commit import Company, GroupCommit
from core.testpoints import reach


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """What came of one record, and the callbacks it promised."""

    recorded: Recorded
    deliveries: tuple[Delivery, ...] = ()


class Recorder:
    """Writes records; an async context manager that runs the group commit."""

    def __init__(
        self,
        db: Database,
        ids: Ids,
        promises: Promises,
        *,
        max_group: int = 100,
        max_pending: int = 10_000,
        company: Company | None = None,
    ) -> None:
        self._db, self._ids, self._promises = db, ids, promises
        self._group: GroupCommit[Record, Written] = GroupCommit(
            self._flush, max_group=max_group, max_pending=max_pending, company=company
        )
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        await self._stack.enter_async_context(self._group)
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._stack.aclose()

    async def write(self, entry: Record) -> Written:
        """Commit one record; safe to send again. Raises DatabaseUnavailable."""
        return await self._group.submit(entry)

    async def _flush(self, entries: Sequence[Record]) -> list[Written | Exception]:
        spare = await take_spare_ids(self._ids, sum(1 + len(entry.ended_pictures) for entry in entries))
        return await self._db.write(partial(self._record, entries, spare))

    async def _record(
        self, entries: Sequence[Record], spare: list[int], connection: AsyncConnection
    ) -> list[Written | Exception]:
        ledger = Ledger(promises=self._promises, at=await now(connection), spare_ids=list(spare))
        written: list[Written | Exception] = []
        for entry in entries:
            promised_before = len(ledger.deliveries)
            recorded = await record(connection, ledger, entry)
            promised = tuple(ledger.deliveries[promised_before:])
            written.append(Written(recorded=recorded, deliveries=promised))
        await ledger.write(connection)
        reach("record.written")
        return written
