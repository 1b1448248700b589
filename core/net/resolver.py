"""Names to addresses within a time limit, which the platform's own resolver does not know.

ssrfguard's stub resolver asks the name servers; around it stands what people expect of a host name:
/etc/hosts, `localhost` and the search list of /etc/resolv.conf (short names in containers).
mDNS and other sources of nsswitch.conf are not asked.
"""

from __future__ import annotations

import functools
import socket
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path

from ssrfguard import Resolver
from ssrfguard.resolvers import UdpResolver, _WrongQuestionError

ResolverAnswer = tuple[int, int, int, str, tuple[object, ...]]
LOCALHOST = ("127.0.0.1", "::1")


class NameTimeout(socket.gaierror):
    """The name servers did not answer in time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NameServers:
    """What /etc/resolv.conf says."""

    addresses: tuple[str, ...] = ("127.0.0.1",)
    port: int = 53
    search: tuple[str, ...] = ()
    ndots: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class SystemResolver:
    """Look names up like the system does, in `socket.getaddrinfo`'s shape; runs in a thread.

    IPv4 comes first: cameras and receivers have it, and a broken IPv6 route costs a whole connect
    time-out.
    """

    timeout_seconds: float
    servers: NameServers | None = None
    """None = read /etc/resolv.conf at every look-up, so that a change of network is seen."""
    hosts_path: Path = field(default=Path("/etc/hosts"))
    resolv_path: Path = field(default=Path("/etc/resolv.conf"))

    @property
    def _attempt_seconds(self) -> float:
        """How long one server may take for one question; several fit into the whole time."""
        return max(self.timeout_seconds / 4, 0.01)

    def __call__(self, host: str, port: int = 0, *asked: int) -> Iterable[ResolverAnswer]:
        """Answer with every address of a name; of family, type, protocol and flags only a flag counts.

        Raises:
            NameTimeout: The time is over.
            socket.gaierror: There is no such name, or the name servers failed.
        """
        servers = self.servers or read_resolv_conf(self.resolv_path)
        deadline = time.monotonic() + self.timeout_seconds
        is_literal = bool(asked[3:] and asked[3] & socket.AI_NUMERICHOST)
        if is_literal:
            return self._ask(servers, host, port, deadline)
        known = self._known(host)
        if known:
            return [_row(address, port) for address in known]
        return self._look_up(servers, host, port, deadline)

    def _known(self, host: str) -> tuple[str, ...]:
        name = host.rstrip(".").lower()
        found = read_hosts(self.hosts_path).get(name, ())
        if not found and (name == "localhost" or name.endswith(".localhost")):
            return LOCALHOST
        return found

    def _look_up(self, servers: NameServers, host: str, port: int, deadline: float) -> list[ResolverAnswer]:
        missing = socket.gaierror(socket.EAI_NONAME, "no such name")
        for name in _candidates(host, servers):
            try:
                return self._ask(servers, name, port, deadline)
            except socket.gaierror as failed:
                was_silent = time.monotonic() >= deadline - self.timeout_seconds + self._attempt_seconds
                if failed.errno == socket.EAI_AGAIN and was_silent:
                    raise NameTimeout(socket.EAI_AGAIN, "the name servers stayed silent") from failed
                if failed.errno != socket.EAI_NONAME:
                    raise
                missing = failed
        raise missing

    def _ask(self, servers: NameServers, name: str, port: int, deadline: float) -> list[ResolverAnswer]:
        left_seconds = max(deadline - time.monotonic(), 0.001)
        stub = UdpResolver(
            nameservers=servers.addresses,
            nameserver_port=servers.port,
            timeout=left_seconds,
            attempt_timeout=self._attempt_seconds,
            # One try each when there is a second server: both families must fit into the time.
            attempts=3 if len(servers.addresses) == 1 else 1,
            families=(socket.AF_INET, socket.AF_INET6),
        )
        try:
            return list(stub(name, port))
        except _WrongQuestionError as wrong:  # leaks from its TCP fallback in ssrfguard 0.4.1
            raise socket.gaierror(socket.EAI_FAIL, "the name server answered another question") from wrong


def _candidates(host: str, servers: NameServers) -> Iterator[str]:
    """Give the names to ask for, in resolv.conf's order: enough dots = as it is first."""
    if host.endswith("."):
        yield host
        return
    searched = [f"{host}.{domain}" for domain in servers.search]
    if host.count(".") >= servers.ndots:
        yield host
        yield from searched
    else:
        yield from searched
        yield host


def _row(address: str, port: int) -> ResolverAnswer:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    target = (address, port, 0, 0) if ":" in address else (address, port)
    return (family, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", target)


def read_resolv_conf(path: Path) -> NameServers:
    """Read name servers, search list and ndots; what is missing or wrong keeps its default."""
    try:
        lines = [line.split() for line in path.read_text(errors="replace").splitlines()]
    except OSError:
        return NameServers()
    addresses = tuple(words[1] for words in lines if words[:1] == ["nameserver"] and _is_address(words[1:]))
    search: tuple[str, ...] = ()
    ndots = 1
    for words in lines:
        if words[:1] in (["search"], ["domain"]):
            search = tuple(domain.strip(".") for domain in words[1:] if domain.strip("."))
        if words[:1] == ["options"]:
            given = [word[6:] for word in words if word.startswith("ndots:") and word[6:].isdecimal()]
            ndots = min(int(given[-1]), 15) if given else ndots
    return NameServers(addresses=addresses or NameServers().addresses, search=search, ndots=ndots)


def _is_address(words: list[str]) -> bool:
    try:
        ip_address(words[0])
    except (ValueError, IndexError):
        return False
    return True


def read_hosts(path: Path) -> dict[str, tuple[str, ...]]:
    """Read /etc/hosts: lower-case name -> addresses, IPv4 first."""
    try:
        return _hosts_of(path, path.stat().st_mtime_ns)
    except OSError:
        return {}


@functools.lru_cache(maxsize=4)
def _hosts_of(path: Path, _mtime_ns: int) -> dict[str, tuple[str, ...]]:
    names: dict[str, list[str]] = {}
    for line in path.read_text(errors="replace").splitlines():
        address, *aliases = line.partition("#")[0].split() or [""]
        if not _is_address([address]) or "%" in address:
            continue
        for alias in aliases:
            found = names.setdefault(alias.rstrip(".").lower(), [])
            if address not in found:
                found.append(address)
    return {name: tuple(sorted(found, key=lambda text: ":" in text)) for name, found in names.items()}


__all__ = ["NameServers", "NameTimeout", "Resolver", "SystemResolver", "read_hosts", "read_resolv_conf"]
