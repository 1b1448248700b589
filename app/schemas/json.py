"""Strict JSON: what is refused before a schema looks at it."""

from __future__ import annotations

import json
import math
import re
from typing import Any, NoReturn

from core.errors import MalformedJson

MAX_NESTING = 8
_MAX_INTEGER = 2**63 - 1
_MAX_DIGITS = 20
# A text that is not closed matches too: otherwise every quote in it would search to the end again.
_TEXT_OR_BRACKET = re.compile(r'"(?:[^"\\]|\\.)*+"?|([\[{])|([\]}])', re.DOTALL)
_BAD_CHARACTER = re.compile("[\0\ud800-\udfff]")
_TOO_LARGE = "A number in the body is too large: beyond 64 bits; send it as text."


def read_json(body: bytes) -> Any:
    """Parse a body.

    Raises:
        MalformedJson: not UTF-8 or not JSON, a key twice in one object, NaN or Infinity, a NUL or
            half of a surrogate pair in a text, a number beyond 64 bits, or nested too deeply.
    """
    if not body.strip():
        raise MalformedJson("The body is empty; send a JSON object.")
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError:
        raise MalformedJson("The body is not UTF-8.") from None
    _refuse_nesting(text)
    try:
        found = json.loads(
            text,
            object_pairs_hook=_unique,
            parse_constant=_no_constant,
            parse_int=_integer,
            parse_float=_number,
        )
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise MalformedJson(f"The body is not well-formed JSON: {error.msg} ({where}).") from None
    if "\\u" in text:  # UTF-8 itself has no surrogates and JSON no bare NUL: only escapes can bring them
        _refuse_bad_text(found)
    return found


def _refuse_nesting(text: str) -> None:
    """Count brackets outside of texts; the parser itself would recurse."""
    depth = 0
    for match in _TEXT_OR_BRACKET.finditer(text):
        if match[1]:
            depth += 1
            if depth > MAX_NESTING:
                raise MalformedJson(f"The JSON is nested deeper than {MAX_NESTING} levels.")
        elif match[2]:
            depth -= 1


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise MalformedJson("An object in the JSON has the same key twice.")
    return found


def _no_constant(name: str) -> NoReturn:
    raise MalformedJson(f"{name} is not a JSON number.")


def _integer(digits: str) -> int:
    if len(digits) > _MAX_DIGITS or abs(int(digits)) > _MAX_INTEGER:
        raise MalformedJson(_TOO_LARGE)
    return int(digits)


def _number(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise MalformedJson(_TOO_LARGE)
    return number


def _refuse_bad_text(value: Any) -> None:
    if isinstance(value, str):
        if _BAD_CHARACTER.search(value):
            raise MalformedJson("A text in the JSON has a NUL character or half of a surrogate pair.")
    elif isinstance(value, dict):
        for key, inner in value.items():
            _refuse_bad_text(key)
            _refuse_bad_text(inner)
    elif isinstance(value, list):
        for inner in value:
            _refuse_bad_text(inner)
