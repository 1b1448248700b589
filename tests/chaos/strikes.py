"""Carries out the plan of faults on an installation, and undoes what lasts."""

from __future__ import annotations

import asyncio
import signal
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import suppress

from redis.asyncio import Redis
from redis.exceptions import RedisError
from sqlalchemy import select

from core.domain.routing import QueueName
from core.domain.task import TaskStatus
from core.errors import DatabaseUnavailable
from core.queue.keys import QueueKeys
from core.store.tables import task, worker
from tests.chaos.faults import Fault, FaultKind
from tests.chaos.fleet import Kept
from tests.chaos.installation import Installation
from tests.support.private_server import PrivateServer

_LOOK_SECONDS = 0.05
_SPARED_FROM = 2
_REBUILD_LIMIT_SECONDS = 60.0


class Strikes:
    """Strikes by plan; several faults may be under way at once."""

    def __init__(self, installation: Installation) -> None:
        self._at = installation
        self.done: Counter[FaultKind] = Counter()
        self.rebuilt_after_seconds: list[float] = []
        self._is_over = asyncio.Event()
        self._locks = {FaultKind.VALKEY_KILL: asyncio.Lock(), FaultKind.DATABASE_KILL: asyncio.Lock()}

    def end(self) -> None:
        """Begin no more faults."""
        self._is_over.set()

    async def run(self, plan: Iterable[Fault], every_seconds: float) -> None:
        """Carry out the plan until `end`; returns when all that lasted is over."""
        async with asyncio.TaskGroup() as group:
            for fault in plan:
                with suppress(TimeoutError):
                    async with asyncio.timeout(every_seconds):
                        await self._is_over.wait()
                if self._is_over.is_set():
                    break
                group.create_task(self._strike(fault))

    async def _strike(self, fault: Fault) -> None:
        at = self._at
        match fault.kind:
            case FaultKind.WORKER_KILL:
                _pick(await self._mortal(), fault).send(signal.SIGKILL)
            case FaultKind.WEB_KILL:
                _pick(at.webs, fault).send(signal.SIGKILL)
            case FaultKind.ZOMBIE:
                await _freeze(_pick(await self._mortal(), fault), fault.seconds)
            case FaultKind.WEB_FREEZE:
                await _freeze(_pick(at.webs, fault), fault.seconds)
            case FaultKind.RECEIVER_DOWN | FaultKind.LINK:
                await self._disturb(fault)
            case FaultKind.FLUSH:
                async with self._locks[FaultKind.VALKEY_KILL]:
                    await asyncio.to_thread(at.valkey.flush)
                await self._await_rebuild()
            case FaultKind.VALKEY_KILL | FaultKind.VALKEY_FREEZE:
                async with self._locks[FaultKind.VALKEY_KILL]:
                    await _break(at.valkey, fault)
            case FaultKind.DATABASE_KILL | FaultKind.DATABASE_FREEZE if at.server is not None:
                async with self._locks[FaultKind.DATABASE_KILL]:
                    await _break(at.server, fault)
        self.done[fault.kind] += 1

    async def _mortal(self) -> list[Kept]:
        """Workers that may be struck: not one that runs a task which has lost two already.

        The third death would end it rightly, and hide whether a poison one took it along.
        """
        running = (task.c.status == TaskStatus.IN_PROGRESS, task.c.crashes >= _SPARED_FROM)
        spared = select(worker.c.pid).join_from(worker, task, task.c.worker_id == worker.c.id).where(*running)
        pids: set[int] = set()
        with suppress(DatabaseUnavailable, TimeoutError):
            async with asyncio.timeout(1.0), self._at.db.read() as connection:
                pids = set((await connection.execute(spared)).scalars())
        return [one for one in self._at.workers if one.pid not in pids] or self._at.workers

    async def _disturb(self, fault: Fault) -> None:
        if fault.link is None or fault.weather is None:
            receiver = self._at.receivers[int(fault.chance * len(self._at.receivers))]
            receiver.is_down = True
            await asyncio.sleep(fault.seconds)
            receiver.is_down = False
            return
        proxies = self._at.links[fault.link]
        for proxy in proxies:
            proxy.disturb(fault.weather)
        await asyncio.sleep(fault.seconds)
        for proxy in proxies:
            proxy.calm()

    async def _await_rebuild(self) -> None:
        """Measure how long the plan is not whole after it was lost."""
        begun = asyncio.get_running_loop().time()
        while not await is_whole(self._at):
            if asyncio.get_running_loop().time() - begun > _REBUILD_LIMIT_SECONDS:
                return
            await asyncio.sleep(_LOOK_SECONDS)
        self.rebuilt_after_seconds.append(asyncio.get_running_loop().time() - begun)


def _pick(kept: Sequence[Kept], fault: Fault) -> Kept:
    return kept[int(fault.chance * len(kept))]


async def _freeze(kept: Kept, seconds: float) -> None:
    kept.send(signal.SIGSTOP)
    await asyncio.sleep(seconds)
    kept.send(signal.SIGCONT)


async def _break(server: PrivateServer, fault: Fault) -> None:
    if fault.kind in (FaultKind.VALKEY_FREEZE, FaultKind.DATABASE_FREEZE):
        server.freeze()
        await asyncio.sleep(fault.seconds)
        server.thaw()
        return
    await asyncio.to_thread(server.kill)
    await asyncio.sleep(fault.seconds)
    await asyncio.to_thread(server.start)


async def is_whole(at: Installation) -> bool:
    """Whether every queue has its epoch and no rebuild is under way."""
    client = Redis(unix_socket_path=str(at.valkey.socket), decode_responses=True)
    try:
        with suppress(RedisError, OSError):
            async with asyncio.timeout(1.0):
                states = [
                    await client.hmget(QueueKeys(queue=name).meta, ["epoch", "rebuilding"])
                    for name in QueueName
                ]
                return all(epoch and not rebuilding for epoch, rebuilding in states)
        return False
    finally:
        await client.aclose()


async def entries_left(at: Installation) -> dict[str, int]:
    """Count what stands in Redis, by queue and place; messages that nobody reads go with the next sweep."""
    async with Redis(unix_socket_path=str(at.valkey.socket), decode_responses=True) as client:
        left = {}
        for name in QueueName:
            keys = QueueKeys(queue=name)
            for place in ("ready", "delayed", "leased"):
                left[f"{name}.{place}"] = int(await client.zcard(getattr(keys, place)))
        return {place: count for place, count in left.items() if count}
