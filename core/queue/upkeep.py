"""What keeps a queue going besides its transitions: waking, pausing, heartbeat, walks over all entries."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

from redis.exceptions import ResponseError

from core.domain.routing import Member
from core.queue.connections import RedisConnections
from core.queue.keys import QueueKeys
from core.queue.lease import Beat, Place

_PAGE = 500
_WAKE_ALL = 64


class Upkeep:
    """The part of a queue that needs no script."""

    def __init__(self, connections: RedisConnections, keys: QueueKeys) -> None:
        self.connections = connections
        self.keys = keys

    @property
    def name(self) -> str:
        """The queue's name."""
        return self.keys.queue

    async def wait(self, timeout_seconds: float) -> bool:
        """Wait for a wake token, at most `block_seconds` of the connection; True = there was one."""
        settings = self.connections.settings
        seconds = min(timeout_seconds, settings.block_seconds)
        if seconds <= 0:  # BLPOP takes 0 for "for ever"
            return False
        async with self.connections.guarded(seconds + settings.timeout_seconds, waits=True):
            return await self.connections.once.blpop([self.keys.wake], timeout=seconds) is not None

    async def pause(self) -> None:
        """Stop claiming; entries are still taken in."""
        await self.set_paused(True)

    async def resume(self) -> None:
        """Go on claiming and wake everybody."""
        await self.set_paused(False)

    async def set_paused(self, paused: bool) -> None:
        """Make the queue's pause what the database says."""
        async with self.connections.guarded():
            if paused:
                await self.connections.retrying.hset(self.keys.meta, "paused", "1")
            elif await self.connections.retrying.hdel(self.keys.meta, "paused"):
                await self.wake()

    async def wake(self) -> None:
        """Wake every waiting process."""
        async with self.connections.guarded(), self.connections.retrying.pipeline() as pipeline:
            pipeline.lpush(self.keys.wake, *["1"] * _WAKE_ALL)
            pipeline.ltrim(self.keys.wake, 0, _WAKE_ALL - 1)
            await pipeline.execute()

    async def beat(self) -> Beat:
        """Count one heartbeat; each process calls this once a second."""
        async with self.connections.guarded():
            async with self.connections.retrying.pipeline() as pipeline:
                pipeline.hincrby(self.keys.meta, "beat", 1)
                pipeline.hmget(self.keys.meta, ["epoch", "paused", "rebuilt_on"])
                beat, (epoch, paused, rebuilt_on) = await pipeline.execute()
            run_id = await self.run_id()
        return Beat(
            epoch=epoch or "",
            beat=int(beat),
            paused=paused == "1",
            run_id=run_id,
            rebuilt_on=rebuilt_on or "",
        )

    async def run_id(self) -> str:
        """Name the running server; empty where INFO is not permitted."""
        async with self.connections.guarded():
            try:
                told = await self.connections.retrying.info("server")
            except ResponseError:
                return ""
        return str(told.get("run_id", ""))

    async def now_ms(self) -> int:
        """The server's clock."""
        async with self.connections.guarded():
            seconds, microseconds = await self.connections.retrying.time()
        return int(seconds) * 1000 + int(microseconds) // 1000

    async def swept_ms(self) -> int:
        """When the last whole comparison with the rows began, by the server's clock; 0 = never."""
        async with self.connections.guarded():
            return int(await self.connections.retrying.hget(self.keys.meta, "swept_ms") or 0)

    async def note_sweep(self, began_ms: int) -> None:
        """Remember when a whole comparison with the rows that succeeded began."""
        async with self.connections.guarded():
            await self.connections.retrying.hset(self.keys.meta, "swept_ms", str(began_ms))

    async def head(self) -> Member | None:
        """The entry that is next in service order."""
        async with self.connections.guarded():
            first = await self.connections.retrying.zrange(self.keys.ready, 0, 0)
        return Member.parse(str(first[0])) if first else None

    async def members(self, place: Place) -> AsyncGenerator[list[Member], None]:
        """Walk over all entries of one place in pages.

        What is there during the whole walk is met at least once; what moves may be missed or met twice.
        """
        for key in await self._keys_of(place):
            async with aclosing(self._scan(key)) as pages:
                async for page in pages:
                    yield page

    async def _keys_of(self, place: Place) -> list[str]:
        match place:
            case Place.READY:
                return [self.keys.ready]
            case Place.DELAYED:
                return [self.keys.delayed]
            case Place.LEASED:
                return [self.keys.leased]
        # The counts name every flow that has a waiting entry: no walk over the key space is needed.
        async with self.connections.guarded():
            fields = await self.connections.retrying.hkeys(self.keys.count)
        kinds = (str(field).partition(":") for field in fields)
        return [self.keys.parked(flow) for kind, _, flow in kinds if kind == "waiting"]

    async def _scan(self, key: str) -> AsyncGenerator[list[Member], None]:
        cursor = None
        while cursor != 0:
            async with self.connections.guarded():
                cursor, page = await self.connections.retrying.zscan(key, cursor or 0, count=_PAGE)
            if page:
                yield [Member.parse(str(text)) for text, _ in page]

    async def message_ids(self) -> AsyncGenerator[list[int], None]:
        """Walk over the ids that have a message, in pages."""
        cursor = None
        while cursor != 0:
            async with self.connections.guarded():
                cursor, page = await self.connections.retrying.hscan(
                    self.keys.message, cursor or 0, count=_PAGE
                )
            if page:
                yield [int(text) for text in page]

    async def drop_messages(self, ids: Sequence[int]) -> int:
        """Delete messages; whoever misses one reads the row. Answers how many there were."""
        if not ids:
            return 0
        async with self.connections.guarded():
            return int(await self.connections.retrying.hdel(self.keys.message, *map(str, ids)))
