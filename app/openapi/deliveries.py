"""The operations on callbacks, described."""

from __future__ import annotations

from app.openapi.parts import (
    CREATED_AFTER,
    CREATED_BEFORE,
    ID,
    OF_BODY,
    PAGE_SIZE,
    PAGE_TOKEN,
    TEXT,
    Operation,
    Parameter,
    Reply,
)
from app.schemas.answers import DeliveryPage, DeliveryView
from app.schemas.outcomes import BulkView
from app.schemas.selection import DeliverySelection
from core.domain.delivery import DeliveryStatus
from core.errors import DatabaseUnavailable, NotFound, TaskNotFinal, ValidationFailed

_DELIVERY_ID = Parameter(name="delivery_id", place="path", schema=ID, description="The delivery's id")

DELIVERIES = (
    Operation(
        method="get",
        path="/v1/deliveries",
        tag="Callbacks",
        name="listDeliveries",
        summary="List deliveries, newest first",
        parameters=(
            Parameter(name="task_id", place="query", schema=ID, description="Of one task"),
            Parameter(
                name="status",
                place="query",
                schema={"enum": [status.value for status in DeliveryStatus]},
                description="One or several",
                is_list=True,
            ),
            Parameter(name="host", place="query", schema=TEXT, description="To one host"),
            CREATED_AFTER,
            CREATED_BEFORE,
            PAGE_SIZE,
            PAGE_TOKEN,
        ),
        replies={200: Reply(description="One page", model=DeliveryPage)},
        errors=(ValidationFailed, DatabaseUnavailable),
    ),
    Operation(
        method="get",
        path="/v1/deliveries/{delivery_id}",
        tag="Callbacks",
        name="getDelivery",
        summary="Read a delivery and its tries",
        parameters=(_DELIVERY_ID,),
        replies={200: Reply(description="The delivery; replies are shown to operators", model=DeliveryView)},
        errors=(NotFound, DatabaseUnavailable),
    ),
    Operation(
        method="post",
        path="/v1/deliveries/{delivery_id}/replay",
        tag="Callbacks",
        name="replayDelivery",
        summary="Send an ended delivery again, with the same id and bytes",
        parameters=(_DELIVERY_ID,),
        replies={202: Reply(description="It is sent again", model=DeliveryView)},
        errors=(NotFound, TaskNotFinal, DatabaseUnavailable),
    ),
    Operation(
        method="post",
        path="/v1/deliveries/replay",
        tag="Callbacks",
        name="replayDeliveries",
        summary="Send ended deliveries again, by filter or ids",
        description="Without `status` and `ids`: those that were not received. Up to 5,000 in one request, "
        "in batches; `dry_run` tells how many there are. A delivery keeps its id and its bytes.",
        body=DeliverySelection,
        replies={200: Reply(description="How many", model=BulkView)},
        errors=(*OF_BODY, DatabaseUnavailable),
    ),
)
