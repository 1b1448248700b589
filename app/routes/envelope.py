"""`/recognition`: the envelope profile; HTTP 200 in every case."""

from __future__ import annotations

from dataclasses import replace

from quart import Blueprint, Response

from app.context import context
from app.requests import asked, identifier, json_body, principal
from app.responses import json_response
from app.schemas.reading import read_task
from core.domain.envelope import Envelope
from core.domain.task import CallbackShape

envelope = Blueprint("envelope", __name__)


@envelope.post("/recognition")
async def submit() -> Response:
    """Accept a task in the profile's words."""
    who, body = await principal(), await json_body()
    shaped = replace(asked(), callback_shape=CallbackShape.ENVELOPE)
    accepted = await context().envelopes.submit(read_task(body, shaped, who, context().meaning))
    return json_response(Envelope(code=200, message="", data=accepted, success=True))


@envelope.get("/recognition/<some_id>")
async def get(some_id: str) -> Response:
    """Show a task by its id or by one of its pictures'."""
    task = await context().envelopes.get(identifier(some_id), await principal())
    return json_response(Envelope(code=200, message="", data=task, success=True))
