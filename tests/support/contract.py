"""Holds answers against the OpenAPI document that the service itself serves."""

from __future__ import annotations

import json
import re
from typing import Any
from urllib.parse import quote

from jsonschema import Draft202012Validator
from quart import Quart
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012
from werkzeug.exceptions import HTTPException

_ROOT = "urn:openapi"


class Contract:
    """The document, and which of its answers were seen."""

    def __init__(self, app: Quart) -> None:
        self._urls = app.url_map.bind("muster.example")
        self.document: dict[str, Any] = json.loads(app.extensions["openapi"])
        resource = Resource.from_contents(self.document, default_specification=DRAFT202012)
        self._registry: Registry[Any] = Registry().with_resource(_ROOT, resource)
        self.seen: set[tuple[str, str, str]] = set()

    @property
    def promised(self) -> set[tuple[str, str, str]]:
        """Every method, path and status of the document."""
        return {
            (method, path, status)
            for path, methods in self.document["paths"].items()
            for method, operation in methods.items()
            for status in operation["responses"]
            if status != "default"
        }

    def check(self, method: str, path: str, status: int, content_type: str, content: bytes) -> None:
        """Require that the answer is as documented."""
        template = self._template(method, path)
        if template is None:
            kind = "Envelope" if path.startswith("/recognition/") else "Problem"
            self._check_schema(("components", "schemas", kind), content)
            return
        place = ("paths", template, method.lower(), "responses")
        responses = self._at(place)
        key = str(status) if str(status) in responses else "default"
        assert key != "default" or status in (405, 500), f"{method} {template} does not document {status}"
        self.seen.add((method.lower(), template, str(status)))
        documented = responses[key].get("content", {})
        assert bool(documented) or not content, f"{method} {template} {status} has no body"
        media_type = content_type.partition(";")[0]
        if documented and "*/*" not in documented:
            assert media_type in documented, f"{media_type} is not documented for {method} {template}"
            if "schema" in documented[media_type]:
                self._check_schema((*place, key, "content", media_type, "schema"), content)

    def _template(self, method: str, path: str) -> str | None:
        try:
            rule, _ = self._urls.match(path.partition("?")[0], method, return_rule=True)
        except HTTPException:
            return None
        return re.sub(r"<(\w+)>", r"{\1}", rule.rule)

    def _at(self, place: tuple[str, ...]) -> Any:
        found: Any = self.document
        for name in place:
            found = found[name]
        return found

    def _check_schema(self, place: tuple[str, ...], content: bytes) -> None:
        pointer = "/".join(quote(name.replace("~", "~0").replace("/", "~1")) for name in place)
        schema = {"$ref": f"{_ROOT}#/{pointer}"}
        Draft202012Validator(schema, registry=self._registry).validate(json.loads(content))
