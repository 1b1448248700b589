"""What a description of an operation is made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from pydantic import BaseModel

from core.errors import (
    BodyTooLarge,
    CallbackUrlBlocked,
    DatabaseUnavailable,
    IdempotencyKeyReused,
    ImageUrlBlocked,
    IntakeFull,
    MalformedJson,
    MusterError,
    NotJson,
    UnknownModel,
    UnknownPrompt,
    ValidationFailed,
)

Errors = tuple[type[MusterError], ...]
OF_BODY: Errors = (MalformedJson, BodyTooLarge, NotJson, ValidationFailed)
OF_SUBMISSION: Errors = (
    *OF_BODY,
    UnknownPrompt,
    UnknownModel,
    ImageUrlBlocked,
    CallbackUrlBlocked,
    IdempotencyKeyReused,
    IntakeFull,
    DatabaseUnavailable,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """One value in the path, the query or a header."""

    name: str
    place: Literal["path", "query", "header"]
    schema: Mapping[str, Any]
    description: str
    is_list: bool = False

    def described(self) -> dict[str, Any]:
        """The parameter as the document has it."""
        found: dict[str, Any] = {
            "name": self.name,
            "in": self.place,
            "required": self.place == "path",
            "description": self.description,
            "schema": {"type": "array", "items": self.schema} if self.is_list else dict(self.schema),
        }
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """One way in which an operation succeeds."""

    description: str
    model: type[BaseModel] | None = None
    media_type: str | None = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)
    """Names of headers and what they tell."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """What one method of one path takes and answers."""

    method: Literal["get", "post", "put", "delete"]
    path: str
    tag: str
    summary: str
    replies: Mapping[int, Reply]
    name: str = ""
    description: str = ""
    parameters: tuple[Parameter, ...] = ()
    body: type[BaseModel] | Literal["picture"] | None = None
    errors: Errors = (DatabaseUnavailable,)
    is_public: bool = False
    """Asked without a key."""


ID: Mapping[str, Any] = {"type": "string", "pattern": "^[0-9]{1,19}$"}
TEXT: Mapping[str, Any] = {"type": "string", "minLength": 1, "maxLength": 64}
MOMENT: Mapping[str, Any] = {"type": "string"}
WHOLE: Mapping[str, Any] = {"type": "integer"}

TASK_ID = Parameter(name="task_id", place="path", schema=ID, description="The task's id")
IDEMPOTENCY_KEY = Parameter(
    name="Idempotency-Key",
    place="header",
    schema={"type": "string", "pattern": "^[!-~]{1,128}$"},
    description="1 to 128 visible characters, kept for 24 hours per system. The same key with the same body "
    "answers the first task again; with another body it is refused. A refused request is not remembered.",
)
PREFER = Parameter(
    name="Prefer",
    place="header",
    schema={"type": "string", "pattern": "wait=[0-9]{1,6}"},
    description="`wait=20` holds the answer until the task has ended, 60 seconds at most",
)
TRACEPARENT = Parameter(
    name="traceparent",
    place="header",
    schema={"type": "string"},
    description="W3C trace context; carried through queue, worker, picture fetch and callback",
)
IF_NONE_MATCH = Parameter(
    name="If-None-Match",
    place="header",
    schema={"type": "string"},
    description="ETags that are known already",
)
PAGE_SIZE = Parameter(
    name="page_size",
    place="query",
    schema={**WHOLE, "minimum": 1, "maximum": 500, "default": 50},
    description="Items on a page",
)
PAGE_TOKEN = Parameter(
    name="page_token",
    place="query",
    schema={"type": "string"},
    description="`next_page_token` of the page before",
)
CREATED_AFTER = Parameter(
    name="created_after", place="query", schema=MOMENT, description="This time or later; RFC 3339"
)
CREATED_BEFORE = Parameter(
    name="created_before", place="query", schema=MOMENT, description="Before this time; RFC 3339"
)
