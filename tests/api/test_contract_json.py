"""Bodies that are made to be slow to read cost their sender an answer, and nobody else any time."""

from __future__ import annotations

from time import perf_counter

import pytest

from tests.support.api import Api

MEBIBYTE = 1024 * 1024


@pytest.mark.parametrize(
    ("start", "repeated"),
    [
        (b'{"a":"', rb"\""),
        (b'{"a":"', rb"\"["),
        (b'{"a":"', b"\\"),
        (b"", b'"'),
        (b"", b"[]"),
        (b"[", b"1,"),
    ],
)
async def test_a_mebibyte_of_unclosed_text_is_refused_at_once(
    api: Api, start: bytes, repeated: bytes
) -> None:
    body = (start + repeated * MEBIBYTE)[:MEBIBYTE]
    begun = perf_counter()

    answer = await api.post("/v1/tasks", body)

    assert (answer.status, answer.json["code"]) == (400, "malformed_json")
    assert perf_counter() - begun < 5
