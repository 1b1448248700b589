"""A callback receiver as a careful customer writes one: it acts once per webhook-id, and is at times ill."""

from __future__ import annotations

import hashlib
import json
import random

from standardwebhooks import Webhook, WebhookVerificationError

from tests.chaos.history import Post
from tests.support.behaviours import Behaviour, SeenRequest, Wire, hang, reply, reset
from tests.support.http_servers import LoopbackServer

_LOST_ANSWERS = 0.02
_ILL: tuple[tuple[float, Behaviour], ...] = (
    (0.03, reply(500)),
    (0.01, reply(503, b"", ("Retry-After", "1"))),
    (0.01, reply(200, b'{"code": 500, "success": false}')),
    (0.003, hang()),
)


class Receiver(LoopbackServer):
    """Keeps what came, and what it acted on."""

    def __init__(self, secret: str, seed: int) -> None:
        super().__init__()
        self.posts: list[Post] = []
        self.is_down = False
        self.unsigned = 0
        self._seen: set[int] = set()
        self._webhook, self._dice = Webhook(secret), random.Random(seed)

    async def answer(self, request: SeenRequest, wire: Wire) -> None:
        """Act and answer, or fail in one of many ways."""
        self.requests.clear()
        if self.is_down:
            await reset()(request, wire)
            return
        draw = self._dice.random()
        for share, behaviour in _ILL:
            if draw < share:
                await behaviour(request, wire)
                return
            draw -= share
        if not self._is_signed(request):
            self.unsigned += 1
            await reply(401)(request, wire)
            return
        self._act(request)
        await (reset() if draw < _LOST_ANSWERS else reply(204))(request, wire)

    def _is_signed(self, request: SeenRequest) -> bool:
        try:
            self._webhook.verify(request.body, request.headers)
        except (WebhookVerificationError, ValueError):  # its verify leaks ValueError of odd signatures
            return False
        return True

    def _act(self, request: SeenRequest) -> None:
        told = json.loads(request.body)
        webhook_id = int(request.headers["webhook-id"])
        self.posts.append(
            Post(
                webhook_id=webhook_id,
                task_id=int(told["data"]["id"]),
                event=told["type"],
                body_sha256=hashlib.sha256(request.body).hexdigest(),
                is_effect=webhook_id not in self._seen,
            )
        )
        self._seen.add(webhook_id)
