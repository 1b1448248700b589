"""Pausing queues, callback secrets, and callbacks to try."""

from __future__ import annotations

from quart import Blueprint, Response

from app.auth import Principal
from app.context import context
from app.requests import json_body, principal
from app.responses import json_response
from app.schemas.outcomes import CallbackTrialView, PausedView, SecretView
from app.schemas.selection import read_trial_url
from core.domain.routing import QueueName
from core.errors import NotFound

administration = Blueprint("administration", __name__)


@administration.post("/v1/queues/<name>/pause")
async def pause(name: str) -> Response:
    """Stop claiming from a queue."""
    return await _set_paused(name, paused=True)


@administration.post("/v1/queues/<name>/resume")
async def resume(name: str) -> Response:
    """Claim from a queue again."""
    return await _set_paused(name, paused=False)


async def _set_paused(name: str, *, paused: bool) -> Response:
    (await principal()).demand_admin()
    if name not in set(QueueName):
        raise NotFound(f"There is no such queue; there are {', '.join(QueueName)}.")
    await context().administration.set_paused(QueueName(name), paused=paused)
    return json_response(PausedView(queue=QueueName(name), paused=paused))


@administration.post("/v1/systems/<code>/secret/rotate")
async def rotate_secret(code: str) -> Response:
    """Give a system a new callback secret."""
    (await principal()).demand_admin()
    return json_response(SecretView.model_validate(await context().administration.rotate_secret(code)))


@administration.post("/v1/systems/<code>/test-callback")
async def try_callback(code: str) -> Response:
    """Send a signed callback to a url and tell what came back."""
    who = await principal()
    url = read_trial_url(await json_body(), context().meaning)
    _demand_own(code, who)
    view = CallbackTrialView.model_validate(await context().administration.try_callback(code, url))
    return json_response(view if who.is_admin else view.model_copy(update={"reply": None}))


def _demand_own(code: str, who: Principal) -> None:
    if who.system_code not in (None, code):
        raise NotFound("There is no such system.")
