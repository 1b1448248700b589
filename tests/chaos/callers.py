"""Business systems that hand in tasks: each insists, with the same Idempotency-Key, until told an id."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import httpx

from tests.chaos.history import History
from tests.chaos.installation import Installation
from tests.chaos.recognisers import POISON, Dawdles

_TRY_SECONDS = 5.0
_PATIENCE_SECONDS = 120.0
_BUSY = (429, 503)
_TAKEN = (200, 202)


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """One task to hand in."""

    key: str
    body: dict[str, Any]
    is_poison: bool = False
    is_cancelled: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Mix:
    """How many tasks, and how many of them are of which kind."""

    tasks: int
    poison: int
    dawdling: float


def make_orders(installation: Installation, seed: int, mix: Mix, upload: str) -> list[Order]:
    """Tasks of every kind in an order that the seed decides."""
    dice = random.Random(seed)
    models = [POISON] * mix.poison + ["picture"] * (mix.tasks - mix.poison)
    dice.shuffle(models)
    return [
        _order(installation, dice, number, upload, Dawdles.name if slow and model != POISON else model)
        for number, model in enumerate(models)
        for slow in (dice.random() < mix.dawdling,)
    ]


def _order(installation: Installation, dice: random.Random, number: int, upload: str, model: str) -> Order:
    urls = [upload if dice.random() < 0.8 else installation.picture_url]
    if dice.random() < 0.05:
        urls *= 3
    body = {
        "business_id": f"order-{number}",
        "system_code": f"ranch-{dice.randrange(4)}",
        "prompt": "ALL",
        "model": model,
        "priority": dice.randrange(10),
        "callback_url": dice.choice(installation.callback_urls),
        "cameras": [{"camera_id": f"gate-{place}", "image_url": url} for place, url in enumerate(urls)],
    }
    if dice.random() < 0.1:
        body["callback_events"] = [
            "task.started",
            "task.image",
            "task.completed",
            "task.failed",
            "task.cancelled",
        ]
    return Order(
        key=f"key-{number}",
        body=body,
        is_poison=model == POISON,
        is_cancelled=model != POISON and dice.random() < 0.01,
    )


class Callers:
    """Hands in orders, evenly over a time, and notes every answer."""

    def __init__(self, installation: Installation, history: History, seed: int) -> None:
        self._urls, self._history = installation.web_urls, history
        self._dice = random.Random(seed)
        self.answers: Counter[int | str] = Counter()
        self.refused: list[str] = []
        self._may_go_on = asyncio.Event()
        self._may_go_on.set()

    def pause(self, *, is_too_much: bool) -> None:
        """Hand in nothing new for a while, or go on."""
        if is_too_much:
            self._may_go_on.clear()
        else:
            self._may_go_on.set()

    async def upload(self, picture: bytes) -> str:
        """Hand in a picture; gives its url."""
        async with self._client() as client:
            while True:
                answer = await self._ask(client, "/v1/uploads", content=picture)
                if answer is not None and answer.status_code == 201:
                    return str(answer.json()["url"])
                await asyncio.sleep(0.2)

    async def hand_in(self, orders: Sequence[Order], *, seconds: float, at_once: int = 16) -> None:
        """Hand in all of them; returns when each was accepted."""
        begun = asyncio.get_running_loop().time()
        waiting = enumerate(orders)
        apart_seconds = seconds / max(1, len(orders))
        async with self._client() as client, asyncio.TaskGroup() as group:

            async def caller() -> None:
                for number, order in waiting:
                    now = asyncio.get_running_loop().time()
                    await asyncio.sleep(max(0.0, begun + number * apart_seconds - now))
                    await self._may_go_on.wait()
                    await self._insist(client, order)

            for _ in range(at_once):
                group.create_task(caller())

    def _client(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(timeout=_TRY_SECONDS, trust_env=False)

    async def _insist(self, client: httpx.AsyncClient, order: Order) -> None:
        ids = self._history.accepted.setdefault(order.key, set())
        if order.is_poison:
            self._history.poison.add(order.key)
        headers = {"Idempotency-Key": order.key}
        given_up_at = asyncio.get_running_loop().time() + _PATIENCE_SECONDS
        while not ids and asyncio.get_running_loop().time() < given_up_at:
            answer = await self._ask(client, "/v1/tasks", json=order.body, headers=headers)
            if answer is not None and answer.status_code in _TAKEN:
                ids.add(int(answer.json()["id"]))
            elif answer is not None and answer.status_code not in _BUSY:
                self.refused.append(f"{order.key}: {answer.status_code} {answer.text[:300]}")
                return
            else:
                await asyncio.sleep(self._dice.uniform(0.05, 0.5))
        if not ids:
            return
        if self._dice.random() < 0.05:  # a caller that lost the answer asks once more
            answer = await self._ask(client, "/v1/tasks", json=order.body, headers=headers)
            if answer is not None and answer.status_code in _TAKEN:
                ids.add(int(answer.json()["id"]))
        if order.is_cancelled:
            await self._ask(client, f"/v1/tasks/{min(ids)}/cancel")

    async def _ask(self, client: httpx.AsyncClient, path: str, **options: Any) -> httpx.Response | None:
        try:
            answer = await client.post(self._dice.choice(self._urls) + path, **options)
        except httpx.TransportError as error:
            self.answers[type(error).__name__] += 1
            return None
        self.answers[answer.status_code] += 1
        return answer
