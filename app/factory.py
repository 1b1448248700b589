"""Puts the web application together."""

from __future__ import annotations

import json
import re
import uuid
from contextlib import AsyncExitStack

import structlog
from quart import Quart, Response, g, request
from werkzeug.exceptions import HTTPException, RequestEntityTooLarge

from app.context import open_context
from app.problems import MEDIA_TYPE, envelope_of, problem_of, retry_after
from app.requests import JSON
from app.routes.envelope import envelope
from app.routes.operating import operating
from app.routes.pictures import pictures
from app.routes.tasks import tasks
from core.errors import BodyTooLarge, CallerError, MalformedJson, MethodNotAllowed, MusterError, NotFound
from core.settings import Settings

log = structlog.get_logger()

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_SAFE_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "X-Frame-Options": "DENY",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
}


def create_app(settings: Settings) -> Quart:
    """Make the application; it opens what it needs before it serves."""
    app = Quart("muster", static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = settings.intake.max_body_bytes
    app.config["BODY_TIMEOUT"] = 30
    app.url_map.strict_slashes = False
    for blueprint in (tasks, pictures, envelope, operating):
        app.register_blueprint(blueprint)
    _open_and_close(app, settings)
    _answer_errors(app)
    _dress_answers(app)
    return app


def _open_and_close(app: Quart, settings: Settings) -> None:
    stack = AsyncExitStack()

    @app.before_serving
    async def open_all() -> None:
        app.extensions["muster"] = await stack.enter_async_context(open_context(settings))

    @app.after_serving
    async def close_all() -> None:
        await stack.aclose()


def _answer_errors(app: Quart) -> None:
    @app.errorhandler(MusterError)
    async def refuse(error: MusterError) -> Response:
        return _answer(error)

    @app.errorhandler(HTTPException)
    async def refuse_http(error: HTTPException) -> Response:
        return _answer(_translated(error))

    @app.errorhandler(Exception)
    async def fail(error: Exception) -> Response:
        log.error("request.failed", path=request.path, request_id=g.request_id, exc_info=error)
        return _answer(MusterError())


def _answer(error: MusterError) -> Response:
    """The error as problem document, or in the envelope profile's words."""
    if not isinstance(error, CallerError):
        log.warning("request.unanswered", path=request.path, code=error.code, request_id=g.request_id)
    if request.path == "/recognition" or request.path.startswith("/recognition/"):
        return Response(json.dumps(envelope_of(error), ensure_ascii=False), 200, content_type=JSON)
    problem = problem_of(error, instance=request.path, request_id=g.request_id)
    return Response(
        problem.model_dump_json(), problem.status, headers=retry_after(error), content_type=MEDIA_TYPE
    )


def _translated(error: HTTPException) -> MusterError:
    """What the framework raises, in our words."""
    if isinstance(error, RequestEntityTooLarge):
        return BodyTooLarge()
    known: dict[int, type[MusterError]] = {404: NotFound, 405: MethodNotAllowed, 413: BodyTooLarge}
    return known.get(error.code or 500, MalformedJson if error.code == 400 else MusterError)()


def _dress_answers(app: Quart) -> None:
    @app.before_request
    async def begin() -> None:
        given = request.headers.get("X-Request-Id", "")
        g.request_id = given if _REQUEST_ID.fullmatch(given) else uuid.uuid4().hex

    @app.after_request
    async def dress(response: Response) -> Response:
        response.headers["X-Request-Id"] = g.request_id
        for name, value in _SAFE_HEADERS.items():
            response.headers.setdefault(name, value)
        if request.path.startswith(("/v1/", "/recognition")):
            response.headers.setdefault("Cache-Control", "no-store")
        return response
