"""The OpenAPI document and a page that shows it; every file is served from here."""

from __future__ import annotations

from functools import cache
from importlib.util import find_spec
from pathlib import Path

from quart import Blueprint, Response, current_app

import app.openapi
from app.responses import JSON, tagged_response
from core.errors import NotFound

docs = Blueprint("docs", __name__)

_OWN = Path(app.openapi.__file__).parent
_ASSETS = {
    "swagger-ui.css": "text/css",
    "swagger-ui-bundle.js": "text/javascript",
    "favicon-32x32.png": "image/png",
    "start.js": "text/javascript",
}
_PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


@docs.get("/openapi.json")
async def openapi() -> Response:
    """The document."""
    return tagged_response(current_app.extensions["openapi"], JSON, {"Cache-Control": "no-cache"})


@docs.get("/docs")
async def page() -> Response:
    """The page."""
    return tagged_response(
        read_file(_OWN / "page.html"),
        "text/html; charset=utf-8",
        {"Content-Security-Policy": _PAGE_POLICY, "Cache-Control": "no-cache"},
    )


@docs.get("/docs/<asset>")
async def asset(asset: str) -> Response:
    """A file of the page."""
    if asset not in _ASSETS:
        raise NotFound
    folder = _OWN if asset == "start.js" else swagger_folder()
    content_type = _ASSETS[asset]
    if content_type.startswith("text/"):
        content_type += "; charset=utf-8"
    return tagged_response(read_file(folder / asset), content_type, {"Cache-Control": "public, max-age=3600"})


@cache
def swagger_folder() -> Path:
    """Where the package with Swagger UI keeps its files; it is not imported."""
    spec = find_spec("flask_swagger_ui")
    places = (spec.submodule_search_locations if spec else None) or []
    return Path(next(iter(places), "missing")) / "dist"


@cache
def read_file(path: Path) -> bytes:
    """A file's bytes, read once."""
    return path.read_bytes()
