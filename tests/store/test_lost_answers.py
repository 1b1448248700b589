"""Commits whose answer is lost: what was stored is found again and not stored twice."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TypeVar

import pytest
from sqlalchemy.ext.asyncio import AsyncConnection

from core.errors import DatabaseUnavailable
from core.settings import DatabaseSettings
from core.store.engine import Database
from core.store.submissions import SubmissionKind
from tests.support.store import Store

T = TypeVar("T")


class Forgetful(Database):
    """A database that is asked in earnest, and whose first answers to a commit are lost on the way."""

    losses = 0

    async def write(self, work: Callable[[AsyncConnection], Awaitable[T]]) -> T:
        found = await super().write(work)
        if self.losses > 0:
            self.losses -= 1
            raise DatabaseUnavailable
        return found


@pytest.fixture
async def forgetful(store: Store, store_url: str) -> AsyncIterator[Forgetful]:
    opened = Forgetful(DatabaseSettings(url=store_url))
    await store.ids.take(5000)  # so that no time for ids is reserved in between
    yield opened
    await opened.close()


@pytest.mark.parametrize("key", [None, "k"])
async def test_a_submission_that_was_stored_although_no_answer_came_is_stored_once(
    store: Store, forgetful: Forgetful, key: str | None
) -> None:
    unlucky = Store(db=forgetful, ids=store.ids, promises=store.promises)
    forgetful.losses = 2
    new = await store.new(idempotency_key=key)
    (found,) = await unlucky.submit(new)
    assert (found.kind, found.task.id) == (SubmissionKind.CREATED, new.id)
    assert found.task == await store.reload(new)
    assert (await store.count("task"), await store.count("task_event")) == (1, 1)


async def test_a_database_that_stays_away_is_told_after_a_moment(store: Store, forgetful: Forgetful) -> None:
    unlucky = Store(db=forgetful, ids=store.ids, promises=store.promises)
    forgetful.losses = 1000
    with pytest.raises(DatabaseUnavailable):
        await unlucky.submit(await store.new())
