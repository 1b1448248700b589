"""The operations for operators and their tools, described."""

from __future__ import annotations

from app.openapi.parts import Operation, Parameter, Reply
from app.schemas.answers import HealthView, ModelList, StatsView, WorkerList
from core.errors import NotFound

OPERATING = (
    Operation(
        method="get",
        path="/v1/models",
        tag="Operating",
        name="listModels",
        summary="The installed models and what each can be asked for",
        replies={200: Reply(description="The models", model=ModelList)},
    ),
    Operation(
        method="get",
        path="/v1/stats",
        tag="Operating",
        name="getStats",
        summary="How much waits and runs, and how fast it goes",
        description="`waiting` is for a KEDA `metrics-api` scaler. A queue is missing while Redis is away.",
        replies={200: Reply(description="The queues at this moment", model=StatsView)},
    ),
    Operation(
        method="get",
        path="/v1/workers",
        tag="Operating",
        name="listWorkers",
        summary="The workers that live",
        replies={200: Reply(description="The workers", model=WorkerList)},
    ),
    Operation(
        method="get",
        path="/livez",
        tag="Health",
        name="isAlive",
        summary="Whether the process answers and moves",
        replies={
            200: Reply(description="It does", model=HealthView),
            503: Reply(description="Submissions have stood still; start it anew", model=HealthView),
        },
        errors=(),
        is_public=True,
    ),
    Operation(
        method="get",
        path="/readyz",
        tag="Health",
        name="isReady",
        summary="Whether tasks can be accepted",
        description="Redis is not needed for that; `reasons` tell what else is amiss.",
        replies={
            200: Reply(description="They can", model=HealthView),
            503: Reply(description="They cannot", model=HealthView, headers={"Retry-After": "Seconds"}),
        },
        errors=(),
        is_public=True,
    ),
    Operation(
        method="get",
        path="/metrics",
        tag="Health",
        name="getMetrics",
        summary="Numbers for Prometheus",
        replies={200: Reply(description="Text format", media_type="text/plain")},
        errors=(),
        is_public=True,
    ),
    Operation(
        method="get",
        path="/openapi.json",
        tag="Documentation",
        name="getOpenapi",
        summary="This document",
        replies={200: Reply(description="OpenAPI 3.1")},
        errors=(),
        is_public=True,
    ),
    Operation(
        method="get",
        path="/docs",
        tag="Documentation",
        name="getDocs",
        summary="This document as a page to try it on",
        replies={200: Reply(description="A page", media_type="text/html")},
        errors=(),
        is_public=True,
    ),
    Operation(
        method="get",
        path="/docs/{asset}",
        tag="Documentation",
        name="getDocsAsset",
        summary="A file of that page",
        parameters=(
            Parameter(name="asset", place="path", schema={"type": "string"}, description="Its name"),
        ),
        replies={200: Reply(description="The file", media_type="*/*")},
        errors=(NotFound,),
        is_public=True,
    ),
)
