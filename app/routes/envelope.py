"""`/recognition`: the envelope profile; HTTP 200 in every case."""

from __future__ import annotations

from quart import Blueprint, Response

from app.context import context
from app.requests import asked, identifier, json_body, json_response, principal
from core.domain.envelope import Envelope

envelope = Blueprint("envelope", __name__)


@envelope.post("/recognition")
async def submit() -> Response:
    """Accept a task in the profile's words."""
    who, body = await principal(), await json_body()
    accepted = await context().envelopes.submit(body, who, asked())
    return json_response(Envelope(code=200, message="", data=accepted, success=True))


@envelope.get("/recognition/<some_id>")
async def get(some_id: str) -> Response:
    """Show a task by its id or by one of its pictures'."""
    task = await context().envelopes.get(identifier(some_id), await principal())
    return json_response(Envelope(code=200, message="", data=task, success=True))
