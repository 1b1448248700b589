"""The schema of the next release under the code of this one: what it adds disturbs nothing.

Every release's migrations only add what may be null or has a default (docs/operations.md, Upgrading),
so that processes of two releases run side by side.
"""

from __future__ import annotations

import pytest
from sqlalchemy import Connection, text

from core.domain.task import TaskStatus
from core.settings import DatabaseSettings
from core.store.attempts import Finished, PutBack
from core.store.changes import delete_task
from core.store.engine import Database
from core.store.migrate import downgrade, is_migrated, upgrade
from core.store.submissions import SubmissionKind
from core.store.tables import metadata
from core.store.upkeep import take_back_lost
from tests.support.store import Store, recognised


def _expand(connection: Connection) -> None:
    """Do what the first step of a later release may: add columns, a table, an index."""
    for name in metadata.tables:
        connection.execute(text(f"ALTER TABLE {name} ADD COLUMN of_the_next_release VARCHAR(64)"))
    connection.execute(text("ALTER TABLE task ADD COLUMN with_default INTEGER NOT NULL DEFAULT 7"))
    connection.execute(text("CREATE TABLE of_the_next_release (id BIGINT PRIMARY KEY, note VARCHAR(64))"))
    connection.execute(text("CREATE INDEX ix_of_the_next_release ON task (of_the_next_release)"))
    connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))


@pytest.fixture
async def expanded_url(database_url: str) -> str:
    """Give a database that a later release has migrated."""
    await upgrade(DatabaseSettings(url=database_url))
    database = Database(DatabaseSettings(url=database_url))
    await database.write(lambda connection: connection.run_sync(_expand))
    await database.close()
    return database_url


async def test_a_schema_of_a_later_release_is_one_that_this_code_works_with(expanded_url: str) -> None:
    database = Database(DatabaseSettings(url=expanded_url))
    assert await is_migrated(database)
    await database.close()


async def test_an_older_schema_is_none(database_url: str) -> None:
    settings = DatabaseSettings(url=database_url)
    database = Database(settings)
    await upgrade(settings)
    await downgrade(settings, "-1")
    assert not await is_migrated(database)
    await database.close()


async def test_a_task_goes_its_whole_way_through_the_schema_of_a_later_release(expanded_url: str) -> None:
    store = Store.open(expanded_url)
    done = await store.running(2, idempotency_key="k", dedup_key="gate", dedup_mode="replace")
    await store.record(done, recognised(done.recognitions[0]))
    await store.record(done, end=PutBack(is_failure=True))
    again = (await store.start(done := await store.reload(done))).tasks[0]
    pictures = [recognised(picture) for picture in again.recognitions]
    await store.record(again, *pictures, end=Finished(status=TaskStatus.COMPLETED))
    assert (await store.reload(done)).status is TaskStatus.COMPLETED
    (replayed,) = await store.submit(
        await store.new(2, idempotency_key="k", dedup_key="gate", dedup_mode="replace")
    )
    assert (replayed.kind, replayed.task.id) == (SubmissionKind.REPLAYED, done.id)

    lost = await store.running(1)
    await store.lose_worker(lost)
    (taken,) = await take_back_lost(store.db, store.ids, store.promises, max_crashes=3)
    assert (taken.after.status, taken.after.crashes) == (TaskStatus.PENDING, 1)
    await delete_task(store.db, done.id)
    assert await store.count("task") == 1
    await store.db.close()
