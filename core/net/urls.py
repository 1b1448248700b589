"""Which urls may be asked for, as far as that shows without asking anybody.

The check is made when a url is accepted and again at each hop. It is necessary, not sufficient: where
a name leads is only known, and only decided, when a connection is opened.
"""

from __future__ import annotations

import re
import socket
import unicodedata
from dataclasses import dataclass
from ipaddress import IPv4Address, ip_address
from urllib.parse import SplitResult, urlsplit

import httpx
from ssrfguard import BlockedAddressError, SSRFGuardError

from core.errors import BlockedAddress, InvalidUrl
from core.net.addresses import AddressRules, GuardedPolicy, IpAddress, Refusal
from core.net.settings import NetSettings

MAX_URL_CHARS = 2048
_DEFAULT_PORTS = {"http": 80, "https": 443}
_UNUSUAL = re.compile(r"[\x00-\x20\x7f-\xa0\\\u2028\u2029\ufeff]")
_IDEOGRAPHIC_DOTS = str.maketrans(dict.fromkeys("\u3002\uff0e\uff61", "."))
_NUMBER_AT_END = re.compile(r"(^|\.)([0-9]+|0[xX][0-9a-fA-F]*)$")

REMEDY = "Operators allow camera networks with MUSTER_FETCH_ALLOW=<network>, e.g. 192.168.0.0/16."
BLOCKED_MESSAGES = {
    Refusal.PRIVATE: f"The url leads to a private network, which may not be reached. {REMEDY}",
    Refusal.SPECIAL: "The url leads to an address that may not be reached.",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckedUrl:
    """A url that passed; only these are asked for."""

    url: httpx.URL
    host: str
    port: int
    only_loopback: bool
    """The port is good on loopback alone, so that is where the host has to lead."""

    def __repr__(self) -> str:
        return f"<CheckedUrl {self.url.scheme} {self.host}:{self.port}>"


class UrlRules:
    """The rules of one configuration; cheap to ask, makes no look-up."""

    def __init__(self, settings: NetSettings) -> None:
        """Read the allowed networks.

        Raises:
            SettingsError: One of them cannot be allowed.
        """
        self._settings = settings
        self.addresses = AddressRules.of(settings.allow_networks, allow_loopback=settings.allow_loopback)
        self.policy = _policy(self.addresses, settings.allowed_ports)
        every_port = frozenset(range(1, 65536)) if settings.allow_loopback else frozenset({1})
        only_loopback = AddressRules((), settings.allow_loopback, only_loopback=True)
        self.loopback_policy = _policy(only_loopback, every_port)

    def check_url(self, url: str) -> None:
        """Refuse what can be refused at submission.

        Raises:
            BlockedAddress: The host is a literal address (in whatever spelling) that may not be reached.
            InvalidUrl: Anything else is wrong; the message says what and how to mend it.
        """
        self.checked(url)

    def checked(self, url: str) -> CheckedUrl:
        """Check and parse, raising as `check_url` does."""
        split = _split(url)
        literal = self._checked_literal(split.hostname or "")
        parsed = _parsed(url)
        host = parsed.raw_host.decode("ascii")
        if (literal is None) != (_read_literal(host) is None):
            raise InvalidUrl("The url's host can be read in two ways; write it plainly.")
        port = parsed.port or _DEFAULT_PORTS[parsed.scheme]
        only_loopback = self._needs_loopback(host, literal, port)
        policy = self.loopback_policy if only_loopback else self.policy
        try:
            policy.check_url(str(parsed))
        except SSRFGuardError as refused:
            if isinstance(refused.__cause__, BlockedAddressError):  # the host's own address
                raise BlockedAddress(BLOCKED_MESSAGES[Refusal.SPECIAL]) from None
            raise InvalidUrl("The url's host is not a host name or address.") from None
        name = host.rstrip(".").lower()
        return CheckedUrl(url=parsed, host=name, port=port, only_loopback=only_loopback)

    def _checked_literal(self, host: str) -> IpAddress | None:
        literal = _read_literal(host)
        if literal is None:
            return None
        refusal = self.addresses.refusal(literal.address)
        if refusal is not None:
            raise BlockedAddress(BLOCKED_MESSAGES[refusal])
        if not literal.is_plain:
            raise InvalidUrl("Write the url's address in its usual form (four decimal numbers, or IPv6).")
        return literal.address

    def _needs_loopback(self, host: str, literal: IpAddress | None, port: int) -> bool:
        if port in self._settings.allowed_ports:
            return False
        name = host.rstrip(".").lower()
        is_local = literal.is_loopback if literal else name == "localhost" or name.endswith(".localhost")
        if self._settings.allow_loopback and is_local and 1 <= port <= 65535:
            return True
        ports = ", ".join(str(each) for each in sorted(self._settings.allowed_ports))
        raise InvalidUrl(f"The url's port is not allowed here; allowed: {ports}.")


@dataclass(frozen=True, slots=True)
class _Literal:
    address: IpAddress
    is_plain: bool


def _split(url: str) -> SplitResult:
    if len(url) > MAX_URL_CHARS:
        raise InvalidUrl(f"The url is longer than {MAX_URL_CHARS} characters.")
    if _UNUSUAL.search(url):
        raise InvalidUrl("The url has a space, a control character or a backslash; encode it with %.")
    try:
        split = urlsplit(url)
        has_host = bool(split.hostname)
        _ = split.port
    except ValueError:
        raise InvalidUrl("The url's host or port cannot be read.") from None
    if split.scheme.lower() not in _DEFAULT_PORTS:
        raise InvalidUrl("The url must begin with http:// or https://.")
    if "@" in split.netloc:
        raise InvalidUrl("The url must not carry a user name or password.")
    if not has_host:
        raise InvalidUrl("The url names no host.")
    return split


def _parsed(url: str) -> httpx.URL:
    """Parse with the parser whose reading is sent."""
    try:
        parsed = httpx.URL(url)
        if parsed.userinfo or not parsed.raw_host or parsed.scheme not in _DEFAULT_PORTS:
            raise InvalidUrl("The url can be read in two ways; write it plainly.")
    except (httpx.InvalidURL, ValueError):
        raise InvalidUrl("The url's host or port cannot be read.") from None
    return parsed


def _read_literal(host: str) -> _Literal | None:
    """Read a host that is an address, in any spelling that some resolver understands.

    Beside the plain forms those are: full-width and circled digits, a trailing dot, a zone, and what
    `inet_aton` takes (one to four decimal, octal or hexadecimal numbers).

    Raises:
        InvalidUrl: It ends in a number, so it is no name, but no address either (WHATWG URL 3.5).
    """
    text = unicodedata.normalize("NFKC", host).translate(_IDEOGRAPHIC_DOTS).removesuffix(".")
    bare = text.partition("%")[0] if ":" in text else text
    try:
        return _Literal(ip_address(bare), is_plain=bare == host)
    except ValueError:
        pass
    if not _NUMBER_AT_END.search(text):
        return None
    try:
        return _Literal(IPv4Address(socket.inet_aton(text)), is_plain=False)
    except (OSError, ValueError):
        raise InvalidUrl("The url's host is neither a name nor an address.") from None


def _policy(rules: AddressRules, ports: frozenset[int]) -> GuardedPolicy:
    # Two addresses at most: the connect time-out counts for each.
    return GuardedPolicy(rules=rules, allowed_ports=ports, max_redirects=0, max_connection_attempts=2)
