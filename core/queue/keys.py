"""Every key of ours in Redis. One queue's keys share a hash tag, so they lie in one Cluster slot."""

from __future__ import annotations

from dataclasses import dataclass

DEFAULT_NAMESPACE = "mst"

SCRIPT_KEYS = (
    "ready",
    "delayed",
    "leased",
    "owner",
    "message",
    "limits",
    "count",
    "held",
    "meta",
    "wake",
    "flow",
    "parked",
    "breaker",
)
"""The order of KEYS for every script; the last three are passed as prefixes of key names."""

_PREFIXES = frozenset({"flow", "parked", "breaker"})


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueKeys:
    """The keys of one queue."""

    queue: str
    namespace: str = DEFAULT_NAMESPACE

    def _key(self, name: str) -> str:
        return f"{self.namespace}:{{{self.queue}}}:{name}"

    def for_scripts(self) -> list[str]:
        """All keys in the order the scripts expect."""
        return [self._key(f"{name}:" if name in _PREFIXES else name) for name in SCRIPT_KEYS]

    @property
    def ready(self) -> str:
        """Sorted set: member -> priority * 2^40 + tag."""
        return self._key("ready")

    @property
    def delayed(self) -> str:
        """Sorted set: member -> due_ms."""
        return self._key("delayed")

    @property
    def leased(self) -> str:
        """Sorted set: member -> lease_expires_ms."""
        return self._key("leased")

    @property
    def owner(self) -> str:
        """Hash: member -> claim token."""
        return self._key("owner")

    @property
    def message(self) -> str:
        """Hash: id -> message as JSON."""
        return self._key("message")

    @property
    def limits(self) -> str:
        """Hash: `w:<flow>` -> weight, `r:<flow>` -> max_running."""
        return self._key("limits")

    @property
    def count(self) -> str:
        """Hash: `waiting:<flow>` and `running:<flow>` -> how many."""
        return self._key("count")

    @property
    def held(self) -> str:
        """Sorted set: flow -> until_ms; 0 while its probe is in ready or awaited."""
        return self._key("held")

    @property
    def meta(self) -> str:
        """Hash: epoch, rebuilding, beat, paused, virtual times, counters, rates."""
        return self._key("meta")

    @property
    def wake(self) -> str:
        """List of wake-up tokens."""
        return self._key("wake")

    @property
    def events(self) -> str:
        """Pub/sub channel."""
        return self._key("events")

    def flow(self, priority: int) -> str:
        """Sorted set: flow -> its last tag in this band."""
        return self._key(f"flow:{priority}")

    def parked(self, flow: str) -> str:
        """Sorted set: member -> the score it had in ready."""
        return self._key(f"parked:{flow}")

    def breaker(self, flow: str) -> str:
        """Hash: failures in_a_row, holds so far, until_ms of the last one; absent = good."""
        return self._key(f"breaker:{flow}")


def cache_key(namespace: str, area: str, name: str) -> str:
    """The key of one cached value."""
    return f"{namespace}:cache:{area}:{name}"


def lock_key(namespace: str, name: str) -> str:
    """The key of a named lock."""
    return f"{namespace}:lock:{name}"
