"""What may be fetched and called, and how long that may take."""

from __future__ import annotations

from dataclasses import dataclass

from core.errors import SettingsError

DEFAULT_PORTS = frozenset({80, 443})


@dataclass(frozen=True, slots=True, kw_only=True)
class NetSettings:
    """Bounds of every request that leaves for an address somebody else chose."""

    allow_networks: tuple[str, ...] = ()
    """Networks (CIDR) that are allowed although they are not public: cameras, receivers."""
    allow_loopback: bool = False
    """Embedded mode: loopback may be reached, on every port."""
    allowed_ports: frozenset[int] = DEFAULT_PORTS
    max_redirects: int = 3
    fetch_timeout_seconds: float = 20.0
    """For one picture in all, redirects included."""
    post_timeout_seconds: float = 15.0
    """For one POST in all."""
    connect_timeout_seconds: float = 5.0
    """For one address; at most two addresses of a name are tried."""
    dns_timeout_seconds: float = 4.0
    max_bytes: int = 20_000_000
    """The largest picture."""
    max_reply_bytes: int = 16_384
    """How much of a receiver's answer is read."""
    min_bytes_per_second: float = 8_192.0
    min_rate_after_seconds: float = 5.0
    """The time after the first byte from which a picture must have come at the least rate."""
    per_host_limit: int = 8
    """Fetches at work per host in one process."""
    clients: int = 4
    """Connection pools for pictures; one httpx pool slows down with each request in flight."""
    in_flight_per_client: int = 8
    user_agent: str = "Muster"

    def __post_init__(self) -> None:
        counts = (self.max_bytes, self.max_reply_bytes, self.per_host_limit, self.clients)
        if min(*counts, self.in_flight_per_client) < 1 or self.max_redirects < 0:
            raise SettingsError("Limits of fetching must be at least 1 (redirects: 0).")
        rates = (self.min_bytes_per_second, self.min_rate_after_seconds, self.dns_timeout_seconds)
        waits = (self.fetch_timeout_seconds, self.post_timeout_seconds, self.connect_timeout_seconds)
        if min(*rates, *waits) <= 0:
            raise SettingsError("Time limits and the least rate of fetching must be above 0.")
        if not self.allowed_ports or not all(1 <= port <= 65535 for port in self.allowed_ports):
            raise SettingsError("The ports that may be fetched from must be 1..65535, at least one.")
