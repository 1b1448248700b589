"""Looking at a queue without changing it: positions, depths, rate."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from core.domain.routing import Member
from core.queue.connections import RedisConnections
from core.queue.keys import DEFAULT_NAMESPACE, QueueKeys
from core.queue.lease import FlowStats, Place, Position, QueueStats
from core.queue.scripts import Scripts, load_sources

_COUNTERS = (
    "enqueued",
    "promoted",
    "claimed",
    "acked",
    "retried",
    "released",
    "reaped",
    "cancelled",
)


class QueueInspector:
    """Reads one queue. Raises QueueUnavailable when Redis is away."""

    def __init__(
        self, connections: RedisConnections, queue: str, *, namespace: str = DEFAULT_NAMESPACE
    ) -> None:
        self._connections = connections
        self._keys = QueueKeys(queue=queue, namespace=namespace)
        sources = load_sources()
        read_only = {name: sources[name] for name in ("position", "stats")}
        self._scripts = Scripts(connections.retrying, self._keys.for_scripts(), read_only)

    async def positions(self, members: Sequence[Member]) -> list[Position]:
        """Tell where each stands, all at one moment."""
        if not members:
            return []
        async with self._connections.guarded():
            rate, *flat = await self._scripts.run("position", [str(member) for member in members])
        per_second = _number(rate)
        return [_position(place, rank, per_second) for place, rank in zip(flat[::2], flat[1::2], strict=True)]

    async def stats(self) -> QueueStats:
        """Tell how deep the queue is; the age of the oldest is the database's to say."""
        async with self._connections.guarded():
            reply = await self._scripts.run("stats", [])
        return _stats(reply)

    async def rate(self) -> float | None:
        """Entries ended per second as last measured; None until there is a measure."""
        async with self._connections.guarded():
            return _number(await self._connections.retrying.hget(self._keys.meta, "ended_per_second"))


def _number(text: str | bytes | None) -> float | None:
    return float(text) if text else None


def _pairs(flat: Sequence[str]) -> dict[str, str]:
    return dict(zip(flat[::2], flat[1::2], strict=True))


def _position(place: str, rank: int, per_second: float | None) -> Position:
    return Position(
        rank=rank or None,
        limited=place == Place.PARKED,
        delayed=place == Place.DELAYED,
        leased=place == Place.LEASED,
        eta_seconds=rank / per_second if rank and per_second else None,
    )


def _stats(reply: Sequence[Any]) -> QueueStats:
    now_ms, ready, delayed, leased, overdue, expired = reply[:6]
    meta, counts, held = (_pairs(flat) for flat in reply[6:])
    return QueueStats(
        now_ms=now_ms,
        ready=ready,
        delayed=delayed,
        leased=leased,
        parked=int(meta.get("parked", 0)),
        overdue=overdue,
        expired=expired,
        paused=meta.get("paused") == "1",
        epoch=meta.get("epoch", ""),
        beat=int(meta.get("beat", 0)),
        served_cost=int(meta.get("served_cost", 0)),
        ended_per_second=_number(meta.get("ended_per_second")),
        cost_per_second=_number(meta.get("cost_per_second")),
        counters={name: int(meta.get(name, 0)) for name in _COUNTERS},
        flows=_flows(counts, held),
    )


def _flows(counts: dict[str, str], held: dict[str, str]) -> dict[str, FlowStats]:
    names = sorted({field.partition(":")[2] for field in counts} | held.keys())
    return {
        flow: FlowStats(
            waiting=int(counts.get(f"waiting:{flow}", 0)),
            running=int(counts.get(f"running:{flow}", 0)),
            held_until_ms=int(float(held[flow])) if flow in held else None,
        )
        for flow in names
    }
