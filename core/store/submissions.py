"""Accepting tasks: keys are honoured and rows of many requests go in with one transaction."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from datetime import timedelta
from enum import StrEnum
from functools import partial
from time import monotonic
from typing import Self

from sqlalchemy import insert
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from core.domain.delivery import Delivery
from core.domain.promises import Promises
from core.domain.recognition import ErrorNote
from core.domain.task import Task, TaskStatus
from core.errors import ClientIdReused, DatabaseUnavailable, Fault, IdempotencyKeyReused, MusterError
from core.ids import Ids
from core.settings import IntakeSettings
from core.store.endings import Ledger, end_task, ended, take_spare_ids
from core.store.engine import Database, now
from core.store.group_commit import GroupCommit, flush_by_halves
from core.store.keys import KEY_LIFE, Prior, forget, keys_of, load_prior, remember, waves
from core.store.rows import recognition_to_row, task_to_row
from core.store.tables import recognition, task
from core.store.tasks import load_tasks
from core.testpoints import reach

_TRIES = 5
PATIENCE_SECONDS = 1.0
"""How long a database that is away is waited for; callers are told within two seconds."""
_PAUSE_SECONDS = 0.2
_SUPERSEDED = ErrorNote(code="superseded", message="A later task with the same dedup key took its place.")


class SubmissionKind(StrEnum):
    """What came of a submission."""

    CREATED = "created"
    REPLAYED = "replayed"
    DEDUPLICATED = "deduplicated"


@dataclass(frozen=True, slots=True, kw_only=True)
class Submitted:
    """The task that the caller gets, how, and the task that made room for it with its callback."""

    task: Task
    kind: SubmissionKind
    superseded: Task | None = None
    deliveries: tuple[Delivery, ...] = ()


class Submissions:
    """Stores new tasks; an async context manager that runs the group commit."""

    def __init__(self, db: Database, ids: Ids, promises: Promises, settings: IntakeSettings) -> None:
        self._db, self._ids, self._promises = db, ids, promises
        self._group: GroupCommit[Task, Submitted] = GroupCommit(
            self._flush,
            max_group=settings.max_group,
            max_pending=settings.max_pending,
        )
        self._again: set[int] = set()
        """Tasks that were sent to the database before, which may have stored them without saying so."""
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        await self._stack.enter_async_context(self._group)
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._stack.aclose()

    @property
    def depth(self) -> int:
        """How many submissions wait for their commit."""
        return self._group.depth

    @property
    def stalled_seconds(self) -> float:
        """How long submissions have waited without any being committed or refused."""
        return self._group.stalled_seconds

    async def submit(self, new: Task) -> Submitted:
        """Commit a task whose ids are taken, or find the one that its keys name.

        A database that is away for a moment, as when it is restarted, is waited for.

        Raises:
            IdempotencyKeyReused: the key was used with another body.
            ClientIdReused: the client id was used with another body.
            IntakeFull: too many submissions wait.
            DatabaseUnavailable: nothing is known to be stored; the same key may be sent again.
        """
        until = monotonic() + PATIENCE_SECONDS
        try:
            while True:
                try:
                    return await self._group.submit(new)
                except DatabaseUnavailable:
                    pause_seconds = random.uniform(0.5, 1.0) * _PAUSE_SECONDS
                    if monotonic() + pause_seconds > until:
                        raise
                    self._again.add(new.id)
                    await asyncio.sleep(pause_seconds)
        finally:
            self._again.discard(new.id)

    async def _flush(self, group: Sequence[Task]) -> list[Submitted | Exception]:
        results: dict[int, Submitted | Exception] = {}
        down: Submitted | Exception | None = None
        for wave in waves(group):
            # A wave is its own transaction: what fails in a later one must not send an earlier one again.
            stored = [down] * len(wave) if down else await flush_by_halves(self._store, wave)
            results.update(zip((new.id for new in wave), stored, strict=True))
            if all(isinstance(found, DatabaseUnavailable) for found in stored):
                down = stored[0]
        return [results[new.id] for new in group]

    async def _store(self, wave: Sequence[Task]) -> list[Submitted | Exception]:
        """Store tasks that share no key. One alone tries again when another process was quicker."""
        for attempt in range(1, _TRIES + 1):
            spare = await take_spare_ids(self._ids, 2 * len(wave))
            numbered = wave if attempt == 1 else [await self._renumbered(new) for new in wave]
            try:
                return await self._db.write(partial(self._insert, numbered, spare))
            except IntegrityError:
                if len(wave) > 1 or (attempt == _TRIES and not keys_of(wave[0])):
                    raise
        raise DatabaseUnavailable("Too many requests used the same key at once; try again.")

    async def _renumbered(self, new: Task) -> Task:
        """The task under other ids, for these are taken; unless they may be taken by itself."""
        if new.id in self._again:
            return new
        task_id, *picture_ids = await self._ids.take(1 + len(new.recognitions))
        pictures = zip(new.recognitions, picture_ids, strict=True)
        return replace(
            new,
            id=task_id,
            recognitions=tuple(replace(picture, id=i, task_id=task_id) for picture, i in pictures),
        )

    async def _stored_before(self, connection: AsyncConnection, wave: Sequence[Task]) -> dict[int, Submitted]:
        """Those that an earlier try has stored after all; its answer was lost."""
        again = [new.id for new in wave if new.id in self._again]
        found = await load_tasks(connection, task.c.id.in_(again)) if again else []
        return {held.id: Submitted(task=held, kind=SubmissionKind.CREATED) for held in found}

    async def _insert(
        self, wave: Sequence[Task], spare: list[int], connection: AsyncConnection
    ) -> list[Submitted | Exception]:
        ledger = Ledger(promises=self._promises, at=await now(connection), spare_ids=list(spare))
        stored = await self._stored_before(connection, wave)
        prior = await load_prior(connection, wave)
        results: list[Submitted | Exception] = [
            stored.get(new.id) or await _decide(connection, ledger, prior, new) for new in wave
        ]
        created = [
            result.task
            for result in results
            if isinstance(result, Submitted)
            and result.kind is SubmissionKind.CREATED
            and result.task.id not in stored
        ]
        if created:
            await connection.execute(insert(task), [_row(new, ledger) for new in created])
            pictures = [recognition_to_row(picture) for new in created for picture in new.recognitions]
            await connection.execute(insert(recognition), pictures)
        for new in created:
            ledger.note(None, new, "submitted")
        unknown = [(new, result) for new, result in zip(wave, results, strict=True) if new.id not in stored]
        await remember(connection, _answered_anew(unknown), ledger.at)
        await ledger.write(connection)
        reach("submission.written")
        return results


def _answered_anew(answered: Iterable[tuple[Task, Submitted | Exception]]) -> list[tuple[Task, Task]]:
    """New tasks and what each is answered with, but for what their keys had been answered with before."""
    return [
        (new, result.task)
        for new, result in answered
        if isinstance(result, Submitted) and result.kind is not SubmissionKind.REPLAYED
    ]


async def _decide(
    connection: AsyncConnection, ledger: Ledger, prior: Prior, new: Task
) -> Submitted | MusterError:
    """Say what a submission comes to, and make room for it when it replaces another."""
    owner = new.system_code
    if (held := prior.idempotency.get((owner, new.idempotency_key))) is not None:
        if held.expires_at is None or held.expires_at > ledger.at:
            same = held.request_sha256 == new.request_sha256
            return Submitted(task=held.task, kind=SubmissionKind.REPLAYED) if same else _key_reused()
        await forget(connection, new)
    if (known := prior.client.get((owner, new.client_id))) is not None:
        same = known.request_sha256 == new.request_sha256
        return Submitted(task=known, kind=SubmissionKind.REPLAYED) if same else ClientIdReused()
    superseded: Task | None = None
    promised: tuple[Delivery, ...] = ()
    if (first := prior.slot.get((owner, new.dedup_key))) is not None:
        if new.dedup_mode == "keep_first":
            return Submitted(task=first, kind=SubmissionKind.DEDUPLICATED)
        superseded, promised = await _supersede(connection, ledger, first)
    accepted = replace(
        new,
        created_at=ledger.at,
        updated_at=ledger.at,
        queue_expires_at=ledger.at + timedelta(seconds=new.queue_ttl_seconds),
    )
    return Submitted(task=accepted, kind=SubmissionKind.CREATED, superseded=superseded, deliveries=promised)


async def _supersede(
    connection: AsyncConnection, ledger: Ledger, held: Task
) -> tuple[Task | None, tuple[Delivery, ...]]:
    """Cancel the waiting task; None when it has started meanwhile (its slot is free then)."""
    after = ended(held, TaskStatus.CANCELLED, _SUPERSEDED, ledger.at)
    waiting = (task.c.status == TaskStatus.PENDING, task.c.started_at.is_(None))
    if not await end_task(connection, after, ledger.at, *waiting):
        return None, ()
    return after, ledger.end(held.status, after, "superseded")


def _key_reused() -> IdempotencyKeyReused:
    detail = "This Idempotency-Key came with another body within 24 hours; use a new key for a new request."
    return IdempotencyKeyReused([Fault(pointer="", detail=detail, code=IdempotencyKeyReused.code)])


def _row(new: Task, ledger: Ledger) -> dict[str, object]:
    keyed = new.idempotency_key is not None
    return task_to_row(new) | {
        "dedup_slot": new.dedup_key,
        "idempotency_expires_at": ledger.at + KEY_LIFE if keyed else None,
    }
