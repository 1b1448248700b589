"""Which addresses may be connected to. No names, no urls: those stand in `urls` and `resolver`.

The base is ssrfguard's transcription of the IANA registries, made stricter: prefixes that carry an
IPv4 address inside them are refused whole instead of being decoded, and so are anycast services and
all IPv6 outside 2000::/3.
"""

from __future__ import annotations

import socket
from dataclasses import dataclass, field
from enum import StrEnum
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from ssrfguard import DEFAULT_DENIED, AddressTable, Block, BlockedAddressError, Policy, Reach

from core.errors import SettingsError

IpAddress = IPv4Address | IPv6Address
IpNetwork = IPv4Network | IPv6Network


def _networks(*texts: str) -> tuple[IpNetwork, ...]:
    return tuple(ip_network(text) for text in texts)


LOOPBACK = _networks("127.0.0.0/8", "::1/128")

PRIVATE = _networks("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7")
"""Where cameras may stand; an operator can allow parts of these."""

NEVER = _networks(
    "0.0.0.0/8",
    "169.254.0.0/16",  # link-local, and the metadata service of most clouds
    "100.100.100.200/32",  # metadata, Alibaba
    "168.63.129.16/32",  # WireServer, Azure: a public address that is always the own host
    "192.0.0.192/32",  # metadata, Oracle
    "224.0.0.0/4",
    "240.0.0.0/4",
    "::/96",
    "::ffff:0:0/96",
    "::ffff:0:0:0/96",
    "64:ff9b::/96",
    "64:ff9b:1::/48",
    "2001::/32",
    "2002::/16",
    "fd00:ec2::/32",  # instance services, AWS
    "fd20:ce::254/128",  # metadata, Google
    "fe80::/10",
    "fec0::/10",
    "ff00::/8",
)
"""Refused whatever an operator allows: each leads to the host itself, its cloud, or to many at once."""


def _hardened_table() -> AddressTable:
    """Build the stricter table: whatever the registry permits or decodes is refused too."""
    outside = _networks("168.63.129.16/32", "::/3", "4000::/2", "8000::/1")
    refused = [block.network for block in DEFAULT_DENIED.blocks]
    refused += [network for network in outside if network not in refused]
    blocks = (Block(network, "special purpose", "refused", Reach.DENIED) for network in refused)
    return AddressTable(tuple(blocks), snapshot=DEFAULT_DENIED.snapshot)


TABLE = _hardened_table()


class Refusal(StrEnum):
    """Why an address is refused, as coarse as callers may know it."""

    PRIVATE = "private"
    """An operator could allow it."""
    SPECIAL = "special"


@dataclass(frozen=True, slots=True)
class AddressRules:
    """Decides about single addresses; pure, except `is_own`."""

    allowed: tuple[IpNetwork, ...]
    allow_loopback: bool
    only_loopback: bool = False

    @classmethod
    def of(cls, networks: tuple[str, ...], *, allow_loopback: bool) -> AddressRules:
        """Read the allowed networks.

        Raises:
            SettingsError: One is not a network, or is one that can never be allowed.
        """
        return cls(tuple(_allowed_network(text) for text in networks), allow_loopback)

    def refusal(self, address: IpAddress) -> Refusal | None:
        """Say why this address may not be connected to; None = it may."""
        if _within(address, LOOPBACK):
            is_allowed = self.allow_loopback or _within(address, self.allowed)
            return None if is_allowed else Refusal.SPECIAL
        if self.only_loopback or _within(address, NEVER):
            return Refusal.SPECIAL
        if _within(address, self.allowed) or not TABLE.classify(address).blocked:
            return None
        return Refusal.PRIVATE if _within(address, PRIVATE) else Refusal.SPECIAL

    def refuses_as_own(self, address: IpAddress) -> bool:
        """Whether it is the host's own address and nobody named exactly this one as allowed.

        A public address of this host leads to services that trust the host, past every firewall.
        """
        if self.allow_loopback or _within(address, LOOPBACK):
            return False
        is_named = any(n.num_addresses == 1 and _within(address, (n,)) for n in self.allowed)
        return not is_named and is_own(address)


def is_own(address: IpAddress) -> bool:
    """Whether this host owns the address now.

    Connecting a datagram socket sends nothing; the kernel only picks the source address, and to an
    own address it picks that address itself. (`bind` would not do: with ip_nonlocal_bind it always
    succeeds.)
    """
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((str(address), 9))
            return ip_address(probe.getsockname()[0]) == address
    except OSError:  # no route or no such family: then it is not ours either
        return False


@dataclass(frozen=True, kw_only=True)
class GuardedPolicy(Policy):
    """The library's policy with our rules for addresses.

    The library asks `check_address` for literal hosts, for every answer of a lookup and again before
    a socket is opened. Its own `allowed_networks` stay empty: they would beat every refusal.
    """

    rules: AddressRules = field(default=AddressRules((), False))

    def check_address(self, address: str | IpAddress) -> None:
        """Refuse by our rules.

        Raises:
            ssrfguard.BlockedAddressError: It may not be connected to.
        """
        parsed = ip_address(address) if isinstance(address, str) else address
        refusal = self.rules.refusal(parsed)
        if refusal is not None:
            raise BlockedAddressError(str(parsed), refusal)
        if self.rules.refuses_as_own(parsed):
            raise BlockedAddressError(str(parsed), Refusal.SPECIAL)


def _within(address: IpAddress, networks: tuple[IpNetwork, ...]) -> bool:
    return any(address in network for network in networks)


def _allowed_network(text: str) -> IpNetwork:
    try:
        network = ip_network(text.strip())
    except ValueError as wrong:
        raise SettingsError(f"Not a network that can be allowed: {text!r} ({wrong}).") from wrong
    is_never = network not in LOOPBACK and any(_is_inside(network, never) for never in NEVER)
    if is_never:
        raise SettingsError(
            f"This network can never be allowed: {text!r} (link-local, metadata or reserved)."
        )
    return network


def _is_inside(inner: IpNetwork, outer: IpNetwork) -> bool:
    if isinstance(inner, IPv4Network):
        return isinstance(outer, IPv4Network) and inner.subnet_of(outer)
    return isinstance(outer, IPv6Network) and inner.subnet_of(outer)
