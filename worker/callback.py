"""One signed POST (Standard Webhooks 1.0.0), and what came of it as a value."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from time import perf_counter

from core.domain.delivery import Delivery, DeliveryTry
from core.domain.retry import TryOutcome, after_failure, after_reply
from core.errors import DeliveryError, MusterError
from core.net import GuardedClient
from core.webhooks import webhook_headers

_KEPT_CHARS = 1024
"""Of a receiver's answer, for operators."""


class Caller:
    """Sends deliveries."""

    def __init__(
        self,
        client: GuardedClient,
        schedule_seconds: tuple[float, ...],
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._client, self._schedule_seconds, self._clock = client, schedule_seconds, clock

    async def call(self, sent: Delivery, secrets: Sequence[bytes]) -> tuple[DeliveryTry, TryOutcome]:
        """POST once; every ending is a value."""
        headers = webhook_headers(sent, secrets, self._clock())
        begun = perf_counter()
        try:
            reply = await self._client.post(sent.url, sent.body, headers, again=sent.tries > 0)
        except DeliveryError as error:
            duration_ms = (perf_counter() - begun) * 1000
            outcome = after_failure(
                error.code,
                tries_before=sent.tries,
                schedule_seconds=self._schedule_seconds,
                is_final=not error.retryable,
            )
            return DeliveryTry(status_code=None, duration_ms=duration_ms, error_code=error.code), outcome
        outcome = after_reply(
            reply.status,
            reply.body,
            tries_before=sent.tries,
            schedule_seconds=self._schedule_seconds,
            retry_after_seconds=reply.retry_after_seconds,
        )
        made = DeliveryTry(
            status_code=reply.status,
            duration_ms=reply.duration_ms,
            error_code=outcome.error_code,
            retry_after_seconds=reply.retry_after_seconds,
            # Not every database stores the character 0.
            reply=reply.body[:_KEPT_CHARS].replace("\0", "\ufffd"),
        )
        return made, outcome

    def broken(self, sent: Delivery) -> tuple[DeliveryTry, TryOutcome]:
        """What a try came to that failed by a mistake of ours, before or after the POST."""
        outcome = after_failure(
            MusterError.code, tries_before=sent.tries, schedule_seconds=self._schedule_seconds
        )
        return DeliveryTry(status_code=None, duration_ms=0.0, error_code=outcome.error_code), outcome
