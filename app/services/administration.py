"""What changes the service itself or a tenant's part of it: pauses, secrets, a callback to try."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime, timedelta
from time import perf_counter
from urllib.parse import urlsplit

from core.clock import utc_now
from core.domain.delivery import Delivery
from core.domain.retry import after_reply
from core.domain.routing import QueueName, flow_of_host
from core.domain.wire import rfc3339
from core.errors import DeliveryError
from core.foundation import Foundation
from core.net import GuardedClient
from core.store.systems import SECRET_OVERLAP_SECONDS
from core.webhooks import webhook_headers, written_secret

TRIAL_EVENT = "muster.test"
_KEPT_CHARS = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class RotatedSecret:
    """A system's new callback secret, and until when the one before it signs along."""

    secret: str
    old_secret_until: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class CallbackTrial:
    """What came back from a receiver that was sent a callback to try."""

    webhook_id: int
    received: bool
    duration_ms: float
    status_code: int | None = None
    error_code: str | None = None
    reply: str | None = None


class AdministrationService:
    """Use cases of operators, and of a system that sets up its receiver."""

    def __init__(self, base: Foundation, client: GuardedClient) -> None:
        self._base, self._client = base, client

    async def set_paused(self, name: QueueName, *, paused: bool) -> None:
        """Stop or start claiming from a queue; submissions go on."""
        await self._base.plan.set_paused(name, paused=paused)

    async def rotate_secret(self, code: str) -> RotatedSecret:
        """Give a system a new callback secret; the one before it signs along for a day. Raises NotFound."""
        until = await self._base.db.now() + timedelta(seconds=SECRET_OVERLAP_SECONDS)
        # Last, for a secret that is made must be told.
        secret = await self._base.systems.rotate(code, overlap_seconds=SECRET_OVERLAP_SECONDS)
        return RotatedSecret(secret=written_secret(secret), old_secret_until=until)

    async def try_callback(self, code: str, url: str) -> CallbackTrial:
        """Send one signed callback to a url, once, and tell what came back; raises NotFound."""
        secrets = await self._base.systems.secrets(code)
        sent = await self._trial(code, url)
        headers = webhook_headers(sent, secrets, utc_now())
        begun = perf_counter()
        try:
            reply = await self._client.post(url, sent.body, headers)
        except DeliveryError as error:
            duration_ms = (perf_counter() - begun) * 1000
            return CallbackTrial(
                webhook_id=sent.id, received=False, duration_ms=duration_ms, error_code=error.code
            )
        outcome = after_reply(reply.status, reply.body, tries_before=0, schedule_seconds=())
        return CallbackTrial(
            webhook_id=sent.id,
            received=outcome.error_code is None,
            duration_ms=reply.duration_ms,
            status_code=reply.status,
            error_code=outcome.error_code,
            reply=reply.body[:_KEPT_CHARS],
        )

    async def _trial(self, code: str, url: str) -> Delivery:
        host = urlsplit(url).hostname or ""
        body = {"type": TRIAL_EVENT, "timestamp": rfc3339(utc_now()), "data": {"system_code": code}}
        return Delivery(
            id=(await self._base.ids.take())[0],
            task_id=0,
            system_code=code,
            event=TRIAL_EVENT,
            url=url,
            host=host,
            flow=flow_of_host(host),
            body=json.dumps(body).encode(),
        )
