"""Puts a worker together from the settings."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from core.clock import ServerClock
from core.domain.routing import QueueName
from core.foundation import Foundation, net_settings
from core.net import GuardedClient
from core.queue.breaker import Breaker
from core.queue.events import Events
from core.settings import Settings
from core.store.group_commit import Company
from core.store.recorder import Recorder
from core.store.starts import Starter
from core.store.tries import TryRecorder
from worker.afterwards import Afterwards
from worker.attempt import Carriers, Holdings
from worker.callback import Caller
from worker.compute import Compute, ComputeSettings
from worker.execution import Execution
from worker.fetch import PictureSource
from worker.handover import Handover
from worker.health import LIVE_SECONDS, Health, Pulse, serve_health
from worker.identity import Identity
from worker.loop import Loop
from worker.loops.deliverer import Deliverer, DelivererSettings
from worker.loops.extender import Extender
from worker.loops.leaser import Leaser
from worker.loops.reaper import Reaper, ReaperSettings
from worker.loops.solo import Solo
from worker.pictures import PictureSettings, PictureWork
from worker.runner import Parts, Runner
from worker.slots import Slots
from worker.timetable import timetable

_COMPANY_SECONDS = 0.2
"""Ends wait so long for each other while the worker has enough to do beside them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Bench:
    """What the loops share."""

    settings: Settings
    base: Foundation
    identity: Identity
    holdings: Holdings
    carriers: Carriers
    recorder: Recorder
    tries: TryRecorder
    afterwards: Afterwards
    slots: Slots
    """For attempts; callbacks have their own."""
    group: asyncio.TaskGroup
    events: Events
    pulse: Pulse
    clock: ServerClock


@asynccontextmanager
async def open_worker(settings: Settings, group: asyncio.TaskGroup) -> AsyncIterator[Runner]:
    """Open everything a worker needs and close it again; raises SettingsError."""
    async with AsyncExitStack() as stack:
        base = await stack.enter_async_context(Foundation.open(settings))
        compute = await stack.enter_async_context(Compute(_compute_settings(settings), base.default_models()))
        client = await stack.enter_async_context(GuardedClient(net_settings(settings)))
        slots = Slots(settings.slots, at_work=settings.children)
        recorder = await stack.enter_async_context(_recorder(base, slots))
        afterwards = await stack.enter_async_context(Afterwards(base.plan, base.events))
        tries = await stack.enter_async_context(TryRecorder(base.db))
        bench = _Bench(
            settings=settings,
            base=base,
            identity=Identity(
                models=base.catalogue.names,
                slots=settings.slots,
                lease_seconds=settings.queue.lease_seconds,
            ),
            holdings=Holdings(),
            carriers=Carriers(group),
            recorder=recorder,
            tries=tries,
            afterwards=afterwards,
            slots=slots,
            group=group,
            events=base.events,
            pulse=Pulse(),
            clock=ServerClock(),
        )
        await compute.ready()
        parts = _parts(bench, compute, client)
        health = Health(base.db, bench.pulse, base.measures().take)
        await stack.enter_async_context(
            serve_health(health, host=settings.worker.host, port=settings.worker.port)
        )
        yield Runner(parts, drain_seconds=settings.worker.drain_seconds)


def _recorder(base: Foundation, slots: Slots) -> Recorder:
    company = Company(wanted=lambda: slots.spare, limit_seconds=_COMPANY_SECONDS)
    return Recorder(base.db, base.ids, base.promises, company=company)


def _parts(bench: _Bench, compute: Compute, client: GuardedClient) -> Parts:
    base, settings, identity = bench.base, bench.settings, bench.identity
    leaser = _leaser(bench, compute, client)
    deliverer = _deliverer(bench, client)
    gates = (leaser.slots, deliverer.slots)
    solo = Solo(base.plan, leaser, base.inspector(QueueName.SOLO), (leaser, deliverer), identity, bench.group)
    extender = Extender(base.db, base.plan, bench.recorder, bench.holdings, identity, bench.clock)
    reaper = Reaper(
        base.db,
        base.ids,
        base.promises,
        base.plan,
        identity,
        ReaperSettings(
            max_task_crashes=settings.queue.max_crashes,
            max_delivery_crashes=settings.delivery.max_crashes,
        ),
    )
    return Parts(
        db=base.db,
        identity=identity,
        clock=bench.clock,
        holdings=bench.holdings,
        events=bench.events,
        scheduler=timetable(base, leaser, bench.pulse),
        carriers=bench.carriers,
        claiming=(
            _claiming("leaser", leaser, bench),
            Loop("solo", solo.step),
            _claiming("deliverer", deliverer, bench),
        ),
        keeping=_keeping(bench, extender, deliverer, reaper),
        slots=gates,
    )


def _claiming(name: str, filler: Leaser | Deliverer, bench: _Bench) -> Loop:
    """A loop that asks a queue for work; one whose hands are full need not ask, unless they are stuck."""
    slots, identity = filler.slots, bench.identity

    def need_not_ask() -> bool:
        # While the database is away results are held in hand: that is no reason to start anew.
        return slots.free == 0 and not (slots.is_jammed and identity.is_steady)

    return Loop(name, bench.pulse.before(name, filler.step, unless=need_not_ask))


def _keeping(bench: _Bench, extender: Extender, deliverer: Deliverer, reaper: Reaper) -> Sequence[Loop]:
    lease_seconds = bench.identity.lease_seconds
    beat = bench.pulse.before("extender", extender.step, within_seconds=max(LIVE_SECONDS, lease_seconds))
    return (
        Loop("extender", beat, every_seconds=lease_seconds / 3),
        Loop("delivery-extender", deliverer.extend, every_seconds=lease_seconds / 3),
        Loop("reaper", bench.pulse.before("reaper", reaper.step), every_seconds=1.0),
    )


def _leaser(bench: _Bench, compute: Compute, client: GuardedClient) -> Leaser:
    base, settings = bench.base, bench.settings
    work = PictureWork(
        PictureSource(client, base.media),
        compute,
        base.media,
        base.catalogue,
        PictureSettings(
            recognise_timeout_seconds=settings.recognise.timeout_seconds,
            annotate=settings.recognise.annotate,
            fetches_at_once=settings.fetch.in_flight,
        ),
        clock=bench.clock.now,
    )
    handover = Handover(bench.recorder, bench.afterwards)
    execution = Execution(work, handover, max_failures=settings.queue.max_failures)
    return Leaser(
        base.plan,
        Starter(base.db, base.ids, base.promises),
        execution,
        bench.holdings,
        bench.identity,
        bench.slots,
        bench.carriers,
        bench.events,
    )


def _deliverer(bench: _Bench, client: GuardedClient) -> Deliverer:
    base, settings = bench.base, bench.settings.delivery
    return Deliverer(
        base.db,
        base.ids,
        bench.tries,
        bench.afterwards,
        base.plan,
        base.systems,
        Caller(client, settings.schedule_seconds, clock=bench.clock.now),
        Breaker(
            base.plan.queues.delivery,
            failures=settings.breaker_failures,
            first_hold_seconds=settings.breaker_seconds,
        ),
        bench.identity,
        Slots(settings.slots),
        bench.carriers,
        DelivererSettings(timeout_seconds=settings.timeout_seconds),
    )


def _compute_settings(settings: Settings) -> ComputeSettings:
    return ComputeSettings(
        children=settings.children,
        threads_per_child=settings.recognise.threads,
        memory_bytes=settings.recognise.memory_bytes,
        recycle_after=settings.recognise.recycle_after,
    )
