"""Checking the signature of a callback, as Standard Webhooks 1.0.0 has it."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import time
from collections.abc import Mapping, Sequence
from typing import Any

from muster_client.errors import SignatureInvalid

TOLERANCE_SECONDS = 300
_PREFIX = "whsec_"


def verify(
    headers: Mapping[str, str],
    body: bytes | str,
    secret: str | Sequence[str],
    *,
    tolerance_seconds: float = TOLERANCE_SECONDS,
    now: float | None = None,
) -> dict[str, Any]:
    """Check a callback and give its JSON.

    Args:
        headers: The request's headers; case does not matter.
        body: The bytes that came, before any parsing.
        secret: `whsec_…`, or several of them while a secret is being changed.
        tolerance_seconds: How far the sender's clock and the way here may be off.
        now: Seconds since 1970, for tests.

    Raises:
        SignatureInvalid: A header is missing, the signature does not fit, or it is too old.
    """
    content = body.encode() if isinstance(body, str) else body
    found = {name.lower(): value for name, value in headers.items()}
    message_id, sent_at, given = (
        found.get(f"webhook-{part}", "") for part in ("id", "timestamp", "signature")
    )
    if not (message_id and sent_at and given):
        raise SignatureInvalid("webhook-id, webhook-timestamp or webhook-signature is missing")
    _check_age(sent_at, time.time() if now is None else now, tolerance_seconds)
    signed = f"{message_id}.{sent_at}.".encode() + content
    secrets = [secret] if isinstance(secret, str) else list(secret)
    expected = [hmac.new(_key(each), signed, hashlib.sha256).digest() for each in secrets]
    offered = [_digest(part) for part in given.split()]
    # Every pair is compared, so that time tells nothing.
    fits = [hmac.compare_digest(ours, theirs) for ours in expected for theirs in offered]
    if not any(fits):
        raise SignatureInvalid("no signature fits")
    return _parse(content)


def _check_age(sent_at: str, now: float, tolerance_seconds: float) -> None:
    if not (sent_at.isascii() and sent_at.isdigit() and len(sent_at) <= 12):
        raise SignatureInvalid("webhook-timestamp is not a number of seconds")
    if abs(now - int(sent_at)) > tolerance_seconds:
        raise SignatureInvalid("webhook-timestamp is too far from this machine's time")


def _key(secret: str) -> bytes:
    try:
        return base64.b64decode(secret.removeprefix(_PREFIX), validate=True)
    except (binascii.Error, ValueError) as error:
        raise SignatureInvalid("the secret is not whsec_ and base64") from error


def _digest(part: str) -> bytes:
    """The bytes of one `v1,<base64>`; nothing when it is of another kind."""
    version, _, encoded = part.partition(",")
    if version != "v1":
        return b""
    try:
        return base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        return b""


def _parse(content: bytes) -> dict[str, Any]:
    try:
        parsed = json.loads(content)
    except ValueError as error:
        raise SignatureInvalid("the body is signed, but not JSON") from error
    if not isinstance(parsed, dict):
        raise SignatureInvalid("the body is signed, but not an object")
    return parsed
