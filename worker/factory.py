"""Puts a worker together from the settings."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
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
from worker.health import Health, Pulse, serve_health
from worker.identity import Identity
from worker.loop import Loop
from worker.loops.deliverer import Deliverer, DelivererSettings
from worker.loops.extender import Extender
from worker.loops.leaser import Leaser
from worker.loops.pruner import Pruner, PrunerSettings
from worker.loops.reaper import Reaper, ReaperSettings
from worker.loops.reconciler import Reconciler
from worker.loops.scheduler import Scheduler
from worker.loops.solo import Solo
from worker.pictures import PictureSettings, PictureWork
from worker.runner import Parts, Runner
from worker.slots import Slots

_PRUNE_SECONDS = 60.0
_LIMITS_SECONDS = 5.0
_COMPANY_SECONDS = 0.2


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
        slots = Slots(settings.worker.slots)
        recorder = await stack.enter_async_context(
            Recorder(base.db, base.ids, base.promises, company=_company(slots))
        )
        afterwards = await stack.enter_async_context(Afterwards(base.plan, base.events))
        tries = await stack.enter_async_context(TryRecorder(base.db))
        bench = _Bench(
            settings=settings,
            base=base,
            identity=Identity(
                models=base.catalogue.names,
                slots=settings.worker.slots,
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
        health = Health(base.db, bench.pulse, parts.slots[0])
        await stack.enter_async_context(
            serve_health(health, host=settings.worker.host, port=settings.worker.port)
        )
        yield Runner(parts, drain_seconds=settings.worker.drain_seconds)


def _company(slots: Slots) -> Company:
    """Ends wait a moment for each other while the worker has enough to do beside them."""
    half = slots.count // 2

    def wanted() -> int:
        return half if slots.taken > half and not slots.is_over else 1

    return Company(wanted=wanted, limit_seconds=_COMPANY_SECONDS)


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
    beat_seconds = identity.lease_seconds / 3
    return Parts(
        db=base.db,
        identity=identity,
        clock=bench.clock,
        holdings=bench.holdings,
        events=bench.events,
        scheduler=_scheduler(bench, leaser),
        carriers=bench.carriers,
        claiming=(
            Loop("leaser", bench.pulse.before(leaser.step)),
            Loop("solo", solo.step),
            Loop("deliverer", deliverer.step),
        ),
        keeping=(
            Loop("extender", extender.step, every_seconds=beat_seconds),
            Loop("delivery-extender", deliverer.extend, every_seconds=beat_seconds),
            Loop("reaper", reaper.step, every_seconds=1.0),
        ),
        slots=gates,
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


def _scheduler(bench: _Bench, leaser: Leaser) -> Scheduler:
    base, settings = bench.base, bench.settings
    reconciler = Reconciler(base.db, base.ids, base.promises, base.plan)

    leaser.claimed = reconciler.see_claim
    kept = settings.retention
    pruner = Pruner(
        base.db,
        base.media,
        PrunerSettings(
            completed_days=kept.completed_days,
            failed_days=kept.failed_days,
            upload_ttl_seconds=settings.media.upload_ttl_seconds,
        ),
    )
    scheduler = Scheduler()
    scheduler.every(1.0, "beat", reconciler.beat)
    scheduler.every(1.0, "expire", reconciler.expire)
    scheduler.every(settings.queue.scan_seconds, "scan", reconciler.scan)
    scheduler.every(settings.queue.sweep_seconds, "sweep", reconciler.sweep)
    scheduler.every(_LIMITS_SECONDS, "limits", base.plan.restore_limits)
    scheduler.every(_PRUNE_SECONDS, "prune", pruner.step)
    return scheduler


def _compute_settings(settings: Settings) -> ComputeSettings:
    return ComputeSettings(
        children=settings.children,
        threads_per_child=settings.recognise.threads,
        memory_bytes=settings.recognise.memory_bytes,
        recycle_after=settings.recognise.recycle_after,
    )
