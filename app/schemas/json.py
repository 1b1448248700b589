"""Strict JSON: what is refused before a schema looks at it."""

from __future__ import annotations

import json
import re
from typing import Any, NoReturn

from core.errors import MalformedJson

MAX_NESTING = 8
_STRINGS = re.compile(r'"(?:[^"\\]|\\.)*"', re.DOTALL)
_BRACKETS = re.compile(r"[\[\]{}]")


def read_json(body: bytes) -> Any:
    """Parse a body.

    Raises:
        MalformedJson: not UTF-8 or not JSON, a key twice in one object, NaN or Infinity, a NUL or
            half of a surrogate pair in a text, a number of thousands of digits, or nested too deeply.
    """
    try:
        text = body.decode("utf-8")
        if _depth_exceeds(text, MAX_NESTING):
            raise MalformedJson(f"The JSON is nested deeper than {MAX_NESTING} levels.")
        found = json.loads(text, object_pairs_hook=_unique, parse_constant=_no_constant)
    except UnicodeDecodeError:
        raise MalformedJson("The body is not UTF-8.") from None
    except RecursionError:
        raise MalformedJson(f"The JSON is nested deeper than {MAX_NESTING} levels.") from None
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise MalformedJson(f"The body is not well-formed JSON: {error.msg} at {where}.") from None
    except ValueError:  # an integer of thousands of digits
        raise MalformedJson("A number in the body has too many digits.") from None
    _refuse_bad_text(found)
    return found


def _depth_exceeds(text: str, limit: int) -> bool:
    """Count brackets outside of strings; the parser itself would recurse."""
    depth = 0
    for bracket in _BRACKETS.findall(_STRINGS.sub("", text)):
        depth += 1 if bracket in "[{" else -1
        if depth > limit:
            return True
    return False


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise MalformedJson("An object in the JSON has the same key twice.")
    return found


def _no_constant(name: str) -> NoReturn:
    raise MalformedJson(f"{name} is not a JSON number.")


def _refuse_bad_text(value: Any) -> None:
    if isinstance(value, str):
        if "\0" in value or any("\ud800" <= char <= "\udfff" for char in value):
            raise MalformedJson("A text in the JSON has a NUL character or half of a surrogate pair.")
    elif isinstance(value, dict):
        for key, inner in value.items():
            _refuse_bad_text(key)
            _refuse_bad_text(inner)
    elif isinstance(value, list):
        for inner in value:
            _refuse_bad_text(inner)
