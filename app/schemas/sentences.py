"""What a schema found wrong, in words that say how to mend it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from pydantic_core import ErrorDetails

_SENTENCES: Mapping[str, str] = {
    "missing": "is required",
    "extra_forbidden": "is not a known field; remove it",
    "model_type": "must be an object",
    "model_attributes_type": "must be an object",
    "dict_type": "must be an object",
    "list_type": "must be a list",
    "string_type": "must be a string",
    "int_type": "must be an integer",
    "int_from_float": "must be an integer",
    "float_type": "must be a number",
    "finite_number": "must be a finite number",
    "string_too_short": "must have at least {min_length} character(s)",
    "string_too_long": "must have at most {max_length} characters",
    "string_pattern_mismatch": "must match {pattern}",
    "too_short": "must have at least {min_length} item(s)",
    "too_long": "must have at most {max_length} items",
    "greater_than_equal": "must be at least {ge}",
    "less_than_equal": "must be at most {le}",
}
_OWN: Mapping[str, Callable[[Mapping[str, Any]], str]] = {
    "enum": lambda context: f"must be one of {_listed(context['expected'])}",
    "value_error": lambda context: str(context["error"]),
}


def sentence(error: ErrorDetails) -> str:
    """One fault in a sentence without its subject, which the pointer names."""
    context = error.get("ctx", {})
    if error["type"] in _OWN:
        return _OWN[error["type"]](context)
    template = _SENTENCES.get(error["type"])
    return error["msg"] if template is None else template.format(**context)


def pointer_of(location: tuple[int | str, ...]) -> str:
    """Where, as a JSON pointer (RFC 6901)."""
    parts = (str(part).replace("~", "~0").replace("/", "~1") for part in location)
    return "".join(f"/{part}" for part in parts)


def _listed(expected: str) -> str:
    """The schema's `'a', 'b' or 'c'` as `a, b, c`."""
    return expected.replace("'", "").replace(" or ", ", ")
