"""Puts the descriptions together, once at the start."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import JsonSchemaMode, models_json_schema

from app.openapi.administration import ADMINISTRATION
from app.openapi.deliveries import DELIVERIES
from app.openapi.operating import OPERATING
from app.openapi.parts import Errors, Operation, Reply
from app.openapi.pictures import ENVELOPE, PICTURES
from app.openapi.tasks import TASKS
from app.problems import MEDIA_TYPE, Problem, answer_to
from core import __version__
from core.domain.envelope import EnvelopeCallback
from core.domain.wire import EventView
from core.errors import MethodNotAllowed, MusterError, Unauthenticated

OPERATIONS: tuple[Operation, ...] = (
    *TASKS,
    *PICTURES,
    *ENVELOPE,
    *DELIVERIES,
    *OPERATING,
    *ADMINISTRATION,
)
_REF = "#/components/schemas/{model}"
_JSON = "application/json"
_ABOUT = """Counts animals in camera snapshots and calls you back.

Ids are decimal strings, times RFC 3339 in UTC. Every answer has an `X-Request-Id`. Every error is a
problem document (RFC 9457) with a stable `code`; a 422 lists all faults with JSON pointers."""

Schemas = Mapping[tuple[Any, JsonSchemaMode], dict[str, Any]]


def build_document(*, needs_key: bool) -> dict[str, Any]:
    """The OpenAPI 3.1 document; `needs_key` says whether authentication is on."""
    schemas, definitions = models_json_schema(_models(), ref_template=_REF)
    components: dict[str, Any] = {
        "schemas": definitions["$defs"],
        "securitySchemes": {
            "key": {"type": "http", "scheme": "bearer", "description": "An API key, `mst_...`"}
        },
    }
    return {
        "openapi": "3.1.0",
        "info": {"title": "Muster", "version": __version__, "description": _ABOUT},
        "security": [{"key": []}] if needs_key else [],
        "paths": _paths(schemas, needs_key),
        "webhooks": _webhooks(schemas),
        "components": components,
    }


@cache
def encode_document(*, needs_key: bool) -> bytes:
    """The document as it is sent; made once in a process, for it takes a tenth of a second."""
    return json.dumps(build_document(needs_key=needs_key), separators=(",", ":")).encode()


def codes() -> list[str]:
    """Every code that a problem can have."""
    anywhere: list[type[MusterError]] = [Unauthenticated, MethodNotAllowed, MusterError]
    of_operations = [kind for operation in OPERATIONS for kind in operation.errors]
    return sorted({kind.code for kind in (*anywhere, *of_operations)})


def _models() -> list[tuple[type[BaseModel], JsonSchemaMode]]:
    out: set[type[BaseModel]] = {Problem, EventView, EnvelopeCallback}
    out |= {reply.model for operation in OPERATIONS for reply in operation.replies.values() if reply.model}
    taken = {operation.body for operation in OPERATIONS if isinstance(operation.body, type)}
    found: list[tuple[type[BaseModel], JsonSchemaMode]] = [(model, "validation") for model in taken]
    found += [(model, "serialization") for model in out]
    return sorted(found, key=lambda entry: (entry[1], entry[0].__name__))


def _paths(schemas: Schemas, needs_key: bool) -> dict[str, Any]:
    paths: dict[str, Any] = defaultdict(dict)
    for operation in OPERATIONS:
        paths[operation.path][operation.method] = _described(operation, schemas, needs_key)
    return dict(paths)


def _described(operation: Operation, schemas: Schemas, needs_key: bool) -> dict[str, Any]:
    found: dict[str, Any] = {
        "operationId": operation.name,
        "tags": [operation.tag],
        "summary": operation.summary,
        "parameters": [parameter.described() for parameter in operation.parameters],
        "responses": _replies(operation, schemas),
    }
    if operation.description:
        found["description"] = operation.description
    if operation.body is not None:
        found["requestBody"] = {"required": True, "content": _content(operation, schemas)}
    if operation.is_public and needs_key:
        found["security"] = []
    return found


def _content(operation: Operation, schemas: Schemas) -> dict[str, Any]:
    if isinstance(operation.body, type):
        return {_JSON: {"schema": schemas[operation.body, "validation"]}}
    return {"image/*": {}, "application/octet-stream": {}}


def _replies(operation: Operation, schemas: Schemas) -> dict[str, Any]:
    found = {str(status): _reply(reply, schemas) for status, reply in operation.replies.items()}
    if operation.tag == "Envelope profile":
        return found
    kinds: Errors = operation.errors if operation.is_public else (*operation.errors, Unauthenticated)
    by_status: dict[int, list[str]] = defaultdict(list)
    for kind in kinds:
        by_status[answer_to(kind).status].append(kind.code)
    for status, of_status in sorted(by_status.items()):
        found[str(status)] = _problem(", ".join(of_status), schemas, of_status)
    return found | {"default": _problem("Any other error", schemas, codes())}


def _reply(reply: Reply, schemas: Schemas) -> dict[str, Any]:
    names = {"X-Request-Id": "Names this request in the logs", **reply.headers}
    headers = {name: _header(description) for name, description in names.items()}
    found: dict[str, Any] = {"description": reply.description, "headers": headers}
    if reply.media_type is not None:
        schema = {"schema": schemas[reply.model, "serialization"]} if reply.model else {}
        found["content"] = {reply.media_type: schema}
    return found


def _problem(description: str, schemas: Schemas, known: Iterable[str]) -> dict[str, Any]:
    one_of = {"properties": {"code": {"enum": list(known)}}}
    schema = {"allOf": [schemas[Problem, "serialization"], one_of]}
    headers = {"X-Request-Id": _header("Names this request in the logs")}
    return {"description": description, "headers": headers, "content": {MEDIA_TYPE: {"schema": schema}}}


def _header(description: str) -> dict[str, Any]:
    return {"description": description, "schema": {"type": "string"}}


def _webhooks(schemas: Schemas) -> dict[str, Any]:
    """The callbacks, signed by Standard Webhooks."""
    names = ("webhook-id", "webhook-timestamp", "webhook-signature")
    headers = [
        {"name": name, "in": "header", "required": True, "schema": {"type": "string"}} for name in names
    ]
    bodies = {"taskEvent": EventView, "envelopeEvent": EnvelopeCallback}
    return {
        name: {
            "post": {
                "operationId": name,
                "tags": ["Callbacks"],
                "summary": f"{model.__doc__}",
                "parameters": headers,
                "requestBody": {"content": {_JSON: {"schema": schemas[model, "serialization"]}}},
                "responses": {"2XX": {"description": "Received; anything else is tried again"}},
            }
        }
        for name, model in bodies.items()
    }
