"""Bodies that are no JSON of ours: refused before anything looks at their fields."""

from __future__ import annotations

import json

import pytest

from tests.support.api import Api, submission
from tests.support.refusals import fault, refused


@pytest.mark.parametrize(
    ("body", "remedy"),
    [
        (b'{"business_id": ', "line 1"),
        (b"", "empty"),
        (b'{"a": 1} x', "line 1"),
        (b"\xff\xfe", "UTF-8"),
        (b'{"a": 1, "a": 2}', "same key twice"),
        (b'{"a": NaN}', "NaN"),
        (b'{"a": -Infinity}', "Infinity"),
        (b'{"a": 1e999}', "too large"),
        (b'{"a": 18446744073709551616}', "too large"),
        (b'{"a": ' + b"9" * 5000 + b"}", "too large"),
        (b'{"a": "\\ud800"}', "surrogate"),
        (b'{"\\u0000": 1}', "NUL"),
        (b"[" * 9 + b"]" * 9, "8 levels"),
        (b"[" * 500_000, "8 levels"),
        (b'{"a": "\t"}', "control character"),
    ],
)
async def test_malformed_json_is_refused_and_says_where(api: Api, body: bytes, remedy: str) -> None:
    answer = await refused(api, body, 400, "malformed_json")

    assert remedy in answer.json["detail"]


async def test_brackets_within_a_text_are_no_nesting(api: Api) -> None:
    await api.accepted(submission(metadata={"drawing": '\\"[[[[[[[[[[{{{{{{{{{{'}))


async def test_a_body_above_the_limit_is_refused(api: Api) -> None:
    body = json.dumps(submission(metadata={"a": "x" * 1_048_576})).encode()

    answer = await refused(api, body, 413, "body_too_large")

    assert "1048576" in answer.json["detail"]


async def test_a_body_that_is_not_json_is_refused_and_says_what_to_send(api: Api) -> None:
    answer = await api.post("/v1/tasks", b"a=1", Content_Type="application/x-www-form-urlencoded")

    assert (answer.status, answer.json["code"]) == (415, "not_json")
    assert "application/json" in answer.json["detail"]


@pytest.mark.parametrize("body", [b"[]", b'"text"', b"1", b"null"])
async def test_a_body_that_is_no_object_is_refused(api: Api, body: bytes) -> None:
    assert await fault(api, body) == ("", "must be an object")
