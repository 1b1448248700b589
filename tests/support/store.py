"""A store with tasks in any state, for tests of whatever stands on it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4
from zoneinfo import ZoneInfo

from sqlalchemy import Executable, func, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from core.domain.delivery import Delivery, EventType
from core.domain.links import Links
from core.domain.promises import Promises
from core.domain.recognition import AreaCount, Findings, FoundObject, Recognition, RecognitionStatus
from core.domain.routing import Member, member_of_task
from core.domain.task import Task
from core.ids import Ids
from core.settings import DatabaseSettings, IntakeSettings
from core.store.attempts import End, Record
from core.store.changes import cancel_task
from core.store.engine import Database
from core.store.instances import InstanceLeases
from core.store.recorder import Recorder, Written
from core.store.starts import Starter, Starts
from core.store.submissions import Submissions, Submitted
from core.store.tables import delivery, metadata, task, worker
from core.store.tasks import HistoryLine, get_task, read_history
from core.store.types import server_now
from core.store.workers import Worker, register_worker

ALL_EVENTS = tuple(str(event) for event in EventType)
CALLBACK_URL = "https://receiver.example/hook?key=1"
CAPTURED = datetime(2026, 11, 1, 12, 30, 15, 123456, tzinfo=UTC)
FINDINGS = Findings(
    width=800,
    height=600,
    channels=3,
    objects=(FoundObject(label="COW", score=0.875, box=(1.0, 2.0, 30.5, 40.25), areas=(0,)),),
    counts={"COW": 1},
    areas=(AreaCount(index=0, counts={"COW": 1}),),
    total=1,
    timings_ms={"fetch": 12.5},
)


def promises() -> Promises:
    """Give what renders callbacks, under a fixed address and key."""
    links = Links(public_url="https://muster.example", key=b"k" * 32, ttl_seconds=60)
    return Promises(links=links, zone=ZoneInfo("UTC"))


def new_recognition(recognition_id: int, task_id: int, position: int, **changes: Any) -> Recognition:
    """Give a picture that is still to be looked at."""
    picture = Recognition(
        id=recognition_id,
        task_id=task_id,
        position=position,
        camera_id=f"camera-{position}",
        image_url=f"https://pictures.example/{position}.jpg",
        model="picture",
        capture_time=CAPTURED,
        camera_size=(600, 800),
        monitor_areas=(((0.0, 0.0), (10.5, 0.0), (10.5, 10.25)),),
    )
    return replace(picture, **changes)


def recognised(picture: Recognition, **changes: Any) -> Recognition:
    """Give the picture as it is when something was found in it."""
    done = replace(picture, status=RecognitionStatus.COMPLETED, findings=FINDINGS, completed_at=CAPTURED)
    return replace(done, **changes)


def with_pictures(of_task: Task, *ended: Recognition) -> Task:
    """Give the task with these pictures in the place of the open ones."""
    by_id = {picture.id: picture for picture in ended}
    return replace(of_task, recognitions=tuple(by_id.get(p.id, p) for p in of_task.recognitions))


@dataclass(frozen=True, slots=True, kw_only=True)
class Store:
    """A migrated database as one process sees it."""

    db: Database
    ids: Ids
    promises: Promises

    @classmethod
    def open(cls, url: str, **settings: Any) -> Store:
        """Connect as a process of its own would; `db.close()` ends it."""
        db = Database(DatabaseSettings(url=url, **settings))
        return cls(db=db, ids=Ids(InstanceLeases(db)), promises=promises())

    async def new(self, pictures: int = 1, **changes: Any) -> Task:
        """Give a task that is not stored yet."""
        task_id, *picture_ids = await self.ids.take(1 + pictures)
        made = Task(
            id=task_id,
            system_code="farm",
            business_id="b-1",
            prompt="COW",
            callback_url=CALLBACK_URL,
            callback_events=ALL_EVENTS,
            request_sha256="0" * 64,
            cost=pictures,
            recognitions=tuple(new_recognition(i, task_id, n) for n, i in enumerate(picture_ids)),
        )
        return replace(made, **changes)

    def submissions(self, **settings: int) -> Submissions:
        """Give the part that accepts tasks; to be entered."""
        return Submissions(self.db, self.ids, self.promises, IntakeSettings(**settings))

    async def submit(self, *new: Task) -> list[Submitted]:
        """Store tasks one after the other."""
        async with self.submissions() as submissions:
            return [await submissions.submit(one) for one in new]

    async def pending(self, pictures: int = 1, **changes: Any) -> Task:
        """Store a task that waits."""
        return (await self.submit(await self.new(pictures, **changes)))[0].task

    async def open_worker(self, *, lease_seconds: float = 60.0) -> str:
        """Register a worker and give its boot id."""
        boot_id = uuid4().hex
        new = Worker(id=boot_id, host="barn", pid=7, version="0", models=("picture",), slots=2)
        await register_worker(self.db, new, lease_seconds=lease_seconds)
        return boot_id

    async def start(
        self, *tasks: Task, worker_id: str | None = None, token: str | None = None, **known: bool
    ) -> Starts:
        """Start the next attempts of tasks, under a new worker unless one is given."""
        starter = Starter(self.db, self.ids, self.promises)
        return await starter.start(
            [member_of_task(one) for one in tasks],
            {one.id: one for one in tasks} if known.get("known") else {},
            worker_id=worker_id or await self.open_worker(),
            token=token or uuid4().hex,
        )

    async def running(self, pictures: int = 1, **changes: Any) -> Task:
        """Store a task and start its first attempt."""
        return (await self.start(await self.pending(pictures, **changes))).tasks[0]

    async def record(self, started: Task, *ended: Recognition, end: End | None = None) -> Written:
        """Record pictures of an attempt, and perhaps its end."""
        entry = Record(task=with_pictures(started, *ended), ended_pictures=ended, end=end)
        async with Recorder(self.db, self.ids, self.promises) as recorder:
            return await recorder.write(entry)

    async def ask_to_stop(self, started: Task) -> None:
        """Ask for a running task to be stopped."""
        await cancel_task(self.db, self.ids, self.promises, started.id)

    async def reload(self, of_task: Task) -> Task:
        """Read a task that must be there."""
        found = await get_task(self.db, of_task.id)
        assert found is not None
        return found

    async def history(self, of_task: Task) -> list[HistoryLine]:
        """Read how a task came to its state."""
        return await read_history(self.db, of_task.id)

    async def run(self, *statements: Executable) -> None:
        """Run statements in one transaction, past all guards."""

        async def work(connection: AsyncConnection) -> None:
            for statement in statements:
                await connection.execute(statement)

        await self.db.write(work)

    async def set_task(self, of_task: Task, **columns: Any) -> None:
        """Write columns of a task's row, past all guards."""
        await self.run(update(task).where(task.c.id == of_task.id).values(**columns))

    async def task_row(self, of_task: Task) -> Any:
        """Read a task's row as it is."""
        async with self.db.read() as connection:
            return (await connection.execute(select(task).where(task.c.id == of_task.id))).one()

    async def lapse_worker(self, worker_id: str, *, closed: bool = False) -> None:
        """Let a worker's heartbeats have stopped a second ago, or its row be closed."""
        values = {"closed_at": server_now()} if closed else {"alive_until": server_now(-1.0)}
        await self.run(update(worker).where(worker.c.id == worker_id).values(**values))

    async def lose_worker(self, of_task: Task) -> None:
        """Close the worker of a running task, as a reaper does that declares it dead."""
        await self.lapse_worker((await self.task_row(of_task)).worker_id, closed=True)

    async def events(self, of_task: Task) -> list[str]:
        """Read which callbacks a task has promised, oldest first."""
        statement = select(delivery.c.event).where(delivery.c.task_id == of_task.id).order_by(delivery.c.id)
        async with self.db.read() as connection:
            return list((await connection.execute(statement)).scalars())

    async def count(self, table: str) -> int:
        """Count the rows of a table."""
        async with self.db.read() as connection:
            statement = select(func.count()).select_from(metadata.tables[table])
            return int((await connection.execute(statement)).scalar_one())


def members(*of: Task) -> list[Member]:
    """Give the entries of the tasks' next attempts."""
    return [member_of_task(one) for one in of]


def promised(found: Sequence[Delivery]) -> list[str]:
    """Give the events of deliveries."""
    return [one.event for one in found]
