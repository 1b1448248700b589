"""Signing what is sent to receivers (Standard Webhooks 1.0.0)."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from datetime import UTC, datetime

from standardwebhooks import Webhook

from core.domain.delivery import Delivery


def signatures(secrets: Sequence[bytes], webhook_id: str, at: datetime, body: bytes) -> str:
    """The `webhook-signature` header: one signature per secret, separated by spaces."""
    return " ".join(Webhook(written_secret(secret)).sign(webhook_id, at, body.decode()) for secret in secrets)


def webhook_headers(sent: Delivery, secrets: Sequence[bytes], at: datetime) -> dict[str, str]:
    """The headers of one try; `webhook-id` is the same on every try, the time is this try's."""
    # The package signs `at.timestamp()` but formats other time zones wrongly, so `at` must be UTC.
    at = at.astimezone(UTC)
    trace = {} if sent.traceparent is None else {"traceparent": sent.traceparent}
    return trace | {
        "content-type": "application/json",
        "webhook-id": str(sent.id),
        "webhook-timestamp": str(int(at.timestamp())),
        "webhook-signature": signatures(secrets, str(sent.id), at, sent.body),
    }


def written_secret(secret: bytes) -> str:
    """A secret as receivers are given it: `whsec_` and base64."""
    return f"whsec_{base64.b64encode(secret).decode()}"
