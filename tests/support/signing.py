"""Signed callback headers, made by the reference package."""

from __future__ import annotations

import base64
from datetime import UTC, datetime

from standardwebhooks import Webhook

SECRET = "whsec_" + base64.b64encode(b"a secret of thirty-two bytes ... ").decode("ascii")


def signed_headers(body: bytes, webhook_id: str = "msg_1", secret: str = SECRET) -> dict[str, str]:
    """Sign a body now."""
    now = datetime.now(UTC)
    return {
        "Content-Type": "application/json",
        "webhook-id": webhook_id,
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": Webhook(secret).sign(webhook_id, now, body.decode("utf-8")),
    }
