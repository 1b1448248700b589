"""Callbacks are believed only because of their signature; `standardwebhooks` is the oracle."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from muster_client import SignatureInvalid, verify
from standardwebhooks import Webhook

SECRET = "whsec_" + base64.b64encode(b"s" * 32).decode()
OTHER = "whsec_" + base64.b64encode(b"o" * 32).decode()
BODY = '{"type":"task.completed","data":{"id":"7"}}'
AT = datetime(2026, 11, 22, 7, 30, tzinfo=UTC)


def signed(body: str = BODY, secret: str = SECRET, at: datetime = AT) -> dict[str, str]:
    return {
        "Webhook-Id": "msg_7",
        "Webhook-Timestamp": str(int(at.timestamp())),
        "webhook-signature": Webhook(secret).sign("msg_7", at, body),
    }


@given(st.dictionaries(st.text(), st.integers()).map(json.dumps))
def test_whatever_the_oracle_signs_is_accepted(body: str) -> None:
    assert isinstance(verify(signed(body), body.encode(), SECRET, now=AT.timestamp()), dict)


def test_the_json_comes_back() -> None:
    assert verify(signed(), BODY, SECRET, now=AT.timestamp())["data"] == {"id": "7"}


def test_a_changed_body_is_refused() -> None:
    with pytest.raises(SignatureInvalid):
        verify(signed(), BODY.replace("7", "8"), SECRET, now=AT.timestamp())


def test_another_secret_is_refused_and_one_of_several_is_enough() -> None:
    with pytest.raises(SignatureInvalid):
        verify(signed(), BODY, OTHER, now=AT.timestamp())
    assert verify(signed(), BODY, [OTHER, SECRET], now=AT.timestamp())


def test_one_of_several_signatures_is_enough() -> None:
    headers = signed()
    headers["webhook-signature"] = f"v1a,AAAA v1,AAAA {headers['webhook-signature']}"
    assert verify(headers, BODY, SECRET, now=AT.timestamp())


@pytest.mark.parametrize("late_seconds", [-301, 301, 10_000])
def test_one_from_another_time_is_refused(late_seconds: int) -> None:
    with pytest.raises(SignatureInvalid):
        verify(signed(), BODY, SECRET, now=AT.timestamp() + late_seconds)


@pytest.mark.parametrize("name", ["Webhook-Id", "Webhook-Timestamp", "webhook-signature"])
@pytest.mark.parametrize("value", ["", "v1,", "v1,é", "v1,=", "1e9", "-1", "٣", "v1,AAA", ",", "v2,AAAA"])
def test_whatever_else_stands_in_a_header_is_refused_with_the_one_error(name: str, value: str) -> None:
    with pytest.raises(SignatureInvalid):
        verify(signed() | {name: value}, BODY, SECRET, now=AT.timestamp())


@pytest.mark.parametrize("secret", ["whsec_!", "whsec_é", "not base64"])
def test_a_secret_of_another_form_is_refused_with_the_one_error(secret: str) -> None:
    with pytest.raises(SignatureInvalid):
        verify(signed(), BODY, secret, now=AT.timestamp())


@pytest.mark.parametrize("body", ["[]", "7", "no json", ""])
def test_a_signed_body_that_is_no_object_is_refused(body: str) -> None:
    with pytest.raises(SignatureInvalid):
        verify(signed(body), body, SECRET, now=AT.timestamp())
