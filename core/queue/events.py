"""What happened to tasks, told to whoever listens now. Publish after the commit.

Delivery is best effort: a listener that missed something learns it from the rows.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from enum import StrEnum
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError
from redis.asyncio.client import PubSub

from core.errors import QueueUnavailable
from core.queue.connections import RedisConnections
from core.queue.keys import DEFAULT_NAMESPACE, QueueKeys

_BACKOFF_BASE_SECONDS, _BACKOFF_CAP_SECONDS = 0.05, 2.0


class EventKind(StrEnum):
    """What can happen to a task."""

    SUBMITTED = "submitted"
    STARTED = "started"
    IMAGE = "image"
    ENDED = "ended"
    CANCEL = "cancel"


class Event(BaseModel):
    """One thing that happened."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    kind: EventKind
    id: int
    """The task's, or in queue `delivery` the delivery's."""
    system_code: str = ""
    attempt: int = 0
    status: str = ""
    recognition_id: int = 0


class Events:
    """The events of one queue."""

    def __init__(
        self, connections: RedisConnections, queue: str, *, namespace: str = DEFAULT_NAMESPACE
    ) -> None:
        self._connections = connections
        self._channel = QueueKeys(queue=queue, namespace=namespace).events

    async def publish(self, *events: Event) -> None:
        """Tell everybody who listens; raises QueueUnavailable, which a caller may ignore."""
        if not events:
            return
        async with (
            self._connections.guarded(),
            self._connections.retrying.pipeline(transaction=False) as pipeline,
        ):
            for event in events:
                pipeline.publish(self._channel, event.model_dump_json(exclude_defaults=True))
            await pipeline.execute()

    @asynccontextmanager
    async def subscribe(self) -> AsyncIterator[Subscription]:
        """Listen while inside; the subscription begins with the first step of its iteration."""
        subscription = Subscription(self._connections, self._channel)
        try:
            yield subscription
        finally:
            await subscription.aclose()


class Subscription:
    """Events as they come; connects again by itself for as long as it is iterated."""

    def __init__(self, connections: RedisConnections, channel: str) -> None:
        self._connections = connections
        self._channel = channel
        self._stream = self._for_ever()
        self.listening = asyncio.Event()
        """Set while the server sends events here."""

    def __aiter__(self) -> AsyncGenerator[Event, None]:
        return self._stream

    async def aclose(self) -> None:
        """Stop listening."""
        await self._stream.aclose()

    async def _for_ever(self) -> AsyncGenerator[Event, None]:
        failures = 0
        while True:
            try:
                async with aclosing(self._until_lost()) as events:
                    async for event in events:
                        failures = 0
                        yield event
            except QueueUnavailable:
                failures += 1
            ceiling = min(_BACKOFF_CAP_SECONDS, _BACKOFF_BASE_SECONDS * 2 ** min(failures, 10))
            await asyncio.sleep(random.uniform(0, ceiling))

    async def _until_lost(self) -> AsyncGenerator[Event, None]:
        async with self._connections.once.pubsub() as listener:
            try:
                async with self._connections.guarded():
                    await listener.subscribe(self._channel)
                while True:
                    event = self._read(await self._next(listener))
                    if event is not None:
                        yield event
            finally:
                self.listening.clear()

    async def _next(self, listener: PubSub) -> dict[str, Any]:
        """Wait for the next message; a server silent for long must answer a ping, or it is lost."""
        settings = self._connections.settings
        limit_seconds = settings.health_check_seconds + settings.timeout_seconds
        async with self._connections.guarded(limit_seconds, waits=True):
            message = await listener.get_message(timeout=settings.health_check_seconds)
            if message is None:
                await listener.ping()
                message = await listener.get_message(timeout=settings.timeout_seconds)
            if message is None:
                raise TimeoutError("no answer to a ping")
        return dict(message)

    def _read(self, message: dict[str, Any]) -> Event | None:
        if message["type"] == "subscribe":
            self.listening.set()
        if message["type"] != "message":
            return None
        try:
            return Event.model_validate_json(message["data"])
        except ValidationError:
            return None  # from another version of this program
