"""What operators and their tools ask: health, models, queues, workers."""

from __future__ import annotations

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from quart import Blueprint, Response

from app.context import context
from app.requests import principal
from app.responses import json_response
from app.schemas.answers import (
    HealthView,
    ModelList,
    ModelView,
    QueueStatsView,
    StatsView,
    WorkerList,
    WorkerView,
)
from core.domain.routing import QueueName

operating = Blueprint("operating", __name__)


@operating.get("/livez")
async def livez() -> Response:
    """The event loop turns, and submissions move."""
    if faults := context().overview.standstills():
        return json_response(HealthView(status="not live", reasons=faults), 503)
    return json_response(HealthView(status="ok"))


@operating.get("/readyz")
async def readyz() -> Response:
    """The database can be reached and is migrated."""
    faults = await context().overview.faults()
    if faults:
        return json_response(HealthView(status="not ready", reasons=faults), 503, {"Retry-After": "2"})
    return json_response(HealthView(status="ok", reasons=await context().overview.remarks()))


@operating.get("/metrics")
async def metrics() -> Response:
    """Numbers for Prometheus."""
    await context().overview.measure()
    return Response(generate_latest(), content_type=CONTENT_TYPE_LATEST)


@operating.get("/v1/models")
async def models() -> Response:
    """The installed models."""
    await principal()
    shifts = context().settings.routing
    items = [
        ModelView.of(spec, [shift.name for shift in shifts if shift.model == spec.name])
        for spec in context().base.catalogue.models
    ]
    return json_response(ModelList(items=items))


@operating.get("/v1/stats")
async def stats() -> Response:
    """How deep the queues are."""
    who = await principal()
    seen = await context().overview.stats()
    work = [seen.queues[q] for q in (QueueName.RECOGNITION, QueueName.SOLO) if q in seen.queues]
    view = StatsView(
        waiting=sum(queue.waiting for queue in work),
        running=sum(queue.leased for queue in work),
        oldest_age_seconds=round(seen.oldest_age_seconds, 3),
        queues={name.value: QueueStatsView.of(queue, who.system_code) for name, queue in seen.queues.items()},
    )
    return json_response(view)


@operating.get("/v1/workers")
async def workers() -> Response:
    """The workers that live."""
    await principal()
    found = await context().overview.workers()
    return json_response(WorkerList(items=[WorkerView.of(worker) for worker in found]))
