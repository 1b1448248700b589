"""Events reach who listens, also after the server was away."""

from __future__ import annotations

import asyncio

from core.queue.connections import RedisConnections, RedisSettings
from core.queue.events import Event, EventKind, Events, Subscription
from tests.support.valkey import PrivateValkey


async def _next(subscription: Subscription) -> Event:
    async with asyncio.timeout(10):
        return await anext(aiter(subscription))


async def _publish_until_heard(events: Events, event: Event, heard: asyncio.Task[Event]) -> Event:
    """Publish again and again: what is sent while nobody listens is lost, which is harmless."""
    async with asyncio.timeout(10):
        while not heard.done():
            await events.publish(event)
            await asyncio.wait({heard}, timeout=0.02)
    return heard.result()


async def test_an_event_arrives_as_it_was_published(connections: RedisConnections) -> None:
    events = Events(connections, "recognition")
    event = Event(kind=EventKind.IMAGE, id=2**62, system_code="farm", attempt=2, recognition_id=7)
    async with events.subscribe() as subscription, asyncio.TaskGroup() as group:
        heard = group.create_task(_next(subscription))
        assert await _publish_until_heard(events, event, heard) == event


async def test_events_of_another_queue_are_not_heard(connections: RedisConnections) -> None:
    events, others = Events(connections, "recognition"), Events(connections, "delivery")
    event = Event(kind=EventKind.ENDED, id=1)
    async with events.subscribe() as subscription, asyncio.TaskGroup() as group:
        heard = group.create_task(_next(subscription))
        await others.publish(Event(kind=EventKind.ENDED, id=2))
        assert await _publish_until_heard(events, event, heard) == event


async def test_what_is_not_an_event_is_passed_over(connections: RedisConnections) -> None:
    events = Events(connections, "recognition")
    async with events.subscribe() as subscription, asyncio.TaskGroup() as group:
        heard = group.create_task(_next(subscription))
        async with asyncio.timeout(10):
            await subscription.listening.wait()
        await connections.retrying.publish("mst:{recognition}:events", '{"kind": "of another version"}')
        await events.publish(Event(kind=EventKind.CANCEL, id=3))
        assert (await heard).id == 3


async def test_a_subscription_connects_again_after_the_server_was_killed() -> None:
    with PrivateValkey() as server:
        connections = RedisConnections(RedisSettings(url=server.url))
        events = Events(connections, "recognition")
        event = Event(kind=EventKind.ENDED, id=1, status="completed")
        async with events.subscribe() as subscription:
            for _ in range(2):
                async with asyncio.TaskGroup() as group:
                    heard = group.create_task(_next(subscription))
                    assert await _publish_until_heard(events, event, heard) == event
                await asyncio.to_thread(server.kill)
                await asyncio.to_thread(server.start)
        await connections.close()


async def test_a_subscription_begins_while_the_server_is_away() -> None:
    with PrivateValkey() as server:
        server.kill()
        connections = RedisConnections(RedisSettings(url=server.url))
        events = Events(connections, "recognition")
        async with events.subscribe() as subscription, asyncio.TaskGroup() as group:
            heard = group.create_task(_next(subscription))
            await asyncio.wait({heard}, timeout=0.2)
            await asyncio.to_thread(server.start)
            await _publish_until_heard(events, Event(kind=EventKind.STARTED, id=1), heard)
        await connections.close()
