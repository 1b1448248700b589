"""Puts the web application together."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterable
from contextlib import AsyncExitStack

import structlog
from quart import Quart, Response, g, request
from werkzeug.exceptions import HTTPException, RequestEntityTooLarge

from app.bodies import request_class, too_large
from app.context import AppContext, open_context
from app.openapi.document import encode_document
from app.problems import MEDIA_TYPE, envelope_of, headers_of, problem_of
from app.responses import JSON
from app.routes.administration import administration
from app.routes.deliveries import deliveries
from app.routes.docs import docs
from app.routes.envelope import envelope
from app.routes.operating import operating
from app.routes.pictures import pictures
from app.routes.tasks import tasks
from core.errors import CallerError, MalformedJson, MethodNotAllowed, MusterError, NotFound
from core.settings import IntakeSettings, Settings

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
    app.request_class = request_class(settings.intake)
    app.config["BODY_TIMEOUT"] = 30
    app.url_map.strict_slashes = False
    app.url_map.merge_slashes = False
    for blueprint in (tasks, pictures, envelope, deliveries, operating, administration, docs):
        app.register_blueprint(blueprint)
    app.extensions["openapi"] = encode_document(needs_key=settings.auth == "on")
    _open_and_close(app, settings)
    _answer_errors(app, settings.intake)
    _dress_answers(app)
    return app


def begin_drain(app: Quart) -> None:
    """From now on hold nobody who waits, and have every answer say that its connection ends with it."""
    app.extensions["is_draining"] = True
    context: AppContext | None = app.extensions.get("muster")
    if context is not None:
        context.waiting.let_go()


def _open_and_close(app: Quart, settings: Settings) -> None:
    stack = AsyncExitStack()

    @app.before_serving
    async def open_all() -> None:
        app.extensions["muster"] = await stack.enter_async_context(open_context(settings))

    @app.after_serving
    async def close_all() -> None:
        await stack.aclose()


def _answer_errors(app: Quart, intake: IntakeSettings) -> None:
    @app.errorhandler(MusterError)
    async def refuse(error: MusterError) -> Response:
        return _answer(error)

    @app.errorhandler(HTTPException)
    async def refuse_http(error: HTTPException) -> Response:
        if isinstance(error, RequestEntityTooLarge):
            return _answer(too_large(request.path, intake))
        return _answer(_translated(error), allowed=getattr(error, "valid_methods", None))

    @app.errorhandler(Exception)
    async def fail(error: Exception) -> Response:
        log.error("request.failed", path=request.path, request_id=g.request_id, exc_info=error)
        return _answer(MusterError())


def _answer(error: MusterError, *, allowed: Iterable[str] | None = None) -> Response:
    """The error as problem document, or in the envelope profile's words."""
    if not isinstance(error, CallerError):
        log.warning("request.unanswered", path=request.path, code=error.code, request_id=g.request_id)
    if request.path == "/recognition" or request.path.startswith("/recognition/"):
        return Response(envelope_of(error).to_bytes(), 200, content_type=JSON)
    problem = problem_of(error, instance=request.path, request_id=g.request_id)
    headers = headers_of(error) | ({"Allow": ", ".join(sorted(allowed))} if allowed else {})
    return Response(problem.model_dump_json(), problem.status, headers=headers, content_type=MEDIA_TYPE)


def _translated(error: HTTPException) -> MusterError:
    """What the framework raises, in our words."""
    if error.code == 404:
        return NotFound("There is nothing at this address; /docs lists what there is.")
    if error.code == 405:
        return MethodNotAllowed()
    if error.code in (400, 408):
        return MalformedJson(f"The request could not be read: {error.name.lower()}.")
    return MusterError()


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
        if app.extensions.get("is_draining"):
            response.headers["Connection"] = "close"
        return response
