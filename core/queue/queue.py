"""One queue: every transition of an entry, each in one step of the server.

Whether the work itself may go on is not decided here but by its row: NOT YOURS (False) from
extend and settle only says that the lease has gone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from core.domain.routing import Member, QueueName
from core.errors import StalePlan
from core.ids import EPOCH_MS
from core.queue.connections import RedisConnections
from core.queue.keys import DEFAULT_NAMESPACE, QueueKeys
from core.queue.lease import CancelOutcome, Claim, Entry, FlowLimit, Lease, Limit, Settlement
from core.queue.scripts import Scripts, load_sources
from core.queue.upkeep import Upkeep

MAX_MESSAGE_BYTES = 4096
_STALE = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskQueueSettings:
    """Fair order's bounds in one queue."""

    default_max_running: int | None = None
    """How many of a flow may run when its limits say nothing; None = as many as there are."""
    aging_seconds: float = 300.0
    """Waiting time after which an entry moves up a band."""
    id_epoch_ms: int = EPOCH_MS
    """When the time part of an id is zero."""


def settings_of(queue: QueueName, *, aging_seconds: float = 300.0, per_host: int = 4) -> TaskQueueSettings:
    """Give a queue its settings: only deliveries are limited by default, per host."""
    default = per_host if queue is QueueName.DELIVERY else None
    return TaskQueueSettings(default_max_running=default, aging_seconds=aging_seconds)


class TaskQueue(Upkeep):
    """A queue's transitions. All times are the server's. Raises QueueUnavailable when it is away."""

    def __init__(
        self,
        connections: RedisConnections,
        queue: str,
        *,
        namespace: str = DEFAULT_NAMESPACE,
        settings: TaskQueueSettings | None = None,
        sources: Mapping[str, str] | None = None,
    ) -> None:
        self.settings = settings or TaskQueueSettings()
        super().__init__(connections, QueueKeys(queue=queue, namespace=namespace))
        sources = sources or load_sources()
        keys = self.keys.for_scripts()
        self._scripts = Scripts(connections.retrying, keys, sources)
        self._claims = Scripts(connections.once, keys, {"claim": sources["claim"]})

    @property
    def _default_max_running(self) -> str:
        default = self.settings.default_max_running
        return "" if default is None else str(default)

    async def _run(self, script: str, arguments: Sequence[str | int | float]) -> Any:
        async with self.connections.guarded():
            return await self._scripts.run(script, arguments)

    async def enqueue(self, entries: Sequence[Entry], rebuild_id: str = "") -> list[bool]:
        """Add entries; True where it was nowhere in the queue before. Safe to repeat.

        Raises:
            StalePlan: `rebuild_id` is not the current rebuild; nothing was added.
        """
        if not entries:
            return []
        arguments: list[str | int] = [rebuild_id]
        for entry in entries:
            arguments += (str(entry.member), entry.delay_ms, _message(entry.message))
        flags = await self._run("enqueue", arguments)
        if flags == _STALE:
            raise StalePlan
        return _booleans(flags)

    async def claim(self, token: str, lease_ms: int, n: int, promote_limit: int = 200) -> Claim:
        """Take the `n` first in service order; never repeated by itself."""
        arguments: list[str | int] = [token, lease_ms, n, promote_limit, self._default_max_running]
        arguments += (int(self.settings.aging_seconds * 1000), self.settings.id_epoch_ms)
        async with self.connections.guarded(self.connections.settings.timeout_seconds):
            reply = await self._claims.run("claim", arguments)
        return _claim(reply, token, lease_ms)

    async def extend(self, lease_ms: int, pairs: Sequence[tuple[Member, str]]) -> list[bool]:
        """Prolong leases, given as member and token; False = not yours."""
        if not pairs:
            return []
        arguments: list[str | int] = [lease_ms]
        for member, token in pairs:
            arguments += (str(member), token)
        return _booleans(await self._run("extend", arguments))

    async def settle(self, settlements: Sequence[Settlement]) -> list[bool]:
        """End leases; False = not yours, and nothing was changed."""
        if not settlements:
            return []
        arguments: list[str | int] = [self._default_max_running]
        for one in settlements:
            next_member = "" if one.next_member is None else str(one.next_member)
            arguments += (str(one.member), one.token, one.outcome.value)
            arguments += (next_member, one.delay_ms, _message(one.message))
        return _booleans(await self._run("settle", arguments))

    async def reap(self, token: str, limit: int, hold_ms: int) -> list[Member]:
        """Take over expired leases for `hold_ms`; then ask the rows what becomes of them."""
        return [Member.parse(text) for text in await self._run("reap", [token, limit, hold_ms])]

    async def cancel(self, members: Sequence[Member]) -> list[CancelOutcome]:
        """Take out what waits; a leased entry stays with its owner."""
        if not members:
            return []
        arguments = [self._default_max_running, *map(str, members)]
        return [CancelOutcome(outcome) for outcome in await self._run("cancel", arguments)]

    async def hasten(self, limits: Sequence[Limit]) -> list[bool]:
        """Bring forward what is due, or leased, for longer than its limit; True = it was."""
        if not limits:
            return []
        arguments: list[str | int] = []
        for limit in limits:
            arguments += (str(limit.member), limit.at_most_ms, min(limit.then_ms, limit.at_most_ms))
        return _booleans(await self._run("hasten", arguments))

    async def set_limits(self, limits: Sequence[FlowLimit]) -> None:
        """Write flows' weights and bounds, hold or free them, and bring back what now fits."""
        if not limits:
            return
        arguments: list[str | int | float] = [self._default_max_running]
        for limit in limits:
            max_running = "" if limit.max_running is None else limit.max_running
            hold_ms = "" if limit.hold_ms is None else limit.hold_ms
            arguments += (limit.flow, limit.weight, max_running, hold_ms)
        await self._run("limit", arguments)

    async def judge(
        self,
        flow: str,
        *,
        succeeded: bool,
        failures: int,
        first_hold_ms: int,
        longest_hold_ms: int,
        forget_ms: int,
    ) -> tuple[int, bool]:
        """Count one outcome of a flow; answers the hold that begins now (0 = none), and whether one ended."""
        bounds = (failures, first_hold_ms, longest_hold_ms, forget_ms)
        hold_ms, freed = await self._run("judge", [self._default_max_running, flow, int(succeeded), *bounds])
        return int(hold_ms), bool(freed)

    async def rebuild_begin(self, rebuild_id: str) -> None:
        """Begin a rebuild: from now on only entries under this id are part of it."""
        await self._run("rebuild", ["begin", rebuild_id, ""])

    async def rebuild_end(self, rebuild_id: str) -> bool:
        """End a rebuild and set a new epoch; False = another has begun, or Redis was emptied."""
        return bool(await self._run("rebuild", ["end", rebuild_id, await self.run_id()]))


def _message(message: str | None) -> str:
    """Leave out a message that is too large; whoever misses it reads the row."""
    if message is None or len(message.encode()) > MAX_MESSAGE_BYTES:
        return ""
    return message


def _booleans(flags: Sequence[int]) -> list[bool]:
    return [bool(flag) for flag in flags]


def _claim(reply: Sequence[Any], token: str, lease_ms: int) -> Claim:
    now_ms, epoch, beat, paused, next_due_ms, flat = reply
    leases = tuple(
        Lease(
            member=Member.parse(member),
            token=token,
            expires_at_ms=now_ms + lease_ms,
            message=message or None,
        )
        for member, message in zip(flat[::2], flat[1::2], strict=True)
    )
    return Claim(
        now_ms=now_ms,
        epoch=epoch,
        beat=beat,
        paused=bool(paused),
        next_due_ms=None if next_due_ms < 0 else next_due_ms,
        leases=leases,
    )
