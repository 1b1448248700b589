"""`/v1/deliveries`: callbacks that were promised, their tries, and sending them again."""

from __future__ import annotations

from quart import Blueprint, Response

from app.context import context
from app.requests import (
    MAX_PAGE_SIZE,
    PAGE_SIZE,
    delivery_filter,
    identifier,
    json_body,
    next_page_token,
    number,
    page_token,
    principal,
)
from app.responses import json_response
from app.schemas.answers import DeliveryPage, DeliveryView
from app.schemas.outcomes import BulkView
from app.schemas.selection import read_delivery_selection

deliveries = Blueprint("deliveries", __name__)


@deliveries.get("/v1/deliveries")
async def page() -> Response:
    """List deliveries, newest first."""
    who = await principal()
    size = number("page_size", PAGE_SIZE, least=1, most=MAX_PAGE_SIZE)
    found = await context().deliveries.page(
        delivery_filter(), page_size=size + 1, before_id=page_token(), principal=who
    )
    token = next_page_token(found[size - 1].id) if len(found) > size else None
    items = [DeliveryView.of(sent) for sent in found[:size]]
    return json_response(DeliveryPage(items=items, next_page_token=token))


@deliveries.get("/v1/deliveries/<delivery_id>")
async def get(delivery_id: str) -> Response:
    """Show a delivery and its tries."""
    who = await principal()
    sent, log = await context().deliveries.get(identifier(delivery_id), who)
    return json_response(DeliveryView.of(sent, log, with_replies=who.is_admin))


@deliveries.post("/v1/deliveries/<delivery_id>/replay")
async def replay(delivery_id: str) -> Response:
    """Send an ended delivery again."""
    sent = await context().deliveries.replay(identifier(delivery_id), await principal())
    return json_response(DeliveryView.of(sent), 202)


@deliveries.post("/v1/deliveries/replay")
async def replay_many() -> Response:
    """Send ended deliveries again, by filter or ids."""
    who = await principal()
    wanted, dry_run = read_delivery_selection(await json_body(), who, context().meaning)
    outcome = await context().bulk.replay(wanted, who, dry_run=dry_run)
    return json_response(BulkView.model_validate(outcome))
