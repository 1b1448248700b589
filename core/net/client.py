"""The guarded client: pictures in, callbacks out, and nowhere it must not go.

One instance per configuration of allowed networks: connections are kept, and a kept connection has
been allowed for everybody who shares the instance.
"""

from __future__ import annotations

import asyncio
import functools
import ssl
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from types import TracebackType

import httpx
from ssrfguard import Resolver

from core.domain.picture import PictureFormat, picture_format
from core.errors import BlockedAddress, FetchFailed, FetchStatus, InvalidUrl, NotAnImage
from core.net.bodies import read_picture, read_reply, retry_after_seconds
from core.net.failures import CALLBACK, PICTURE, told_as
from core.net.lanes import HostTurns, Lanes
from core.net.resolver import SystemResolver
from core.net.settings import NetSettings
from core.net.urls import CheckedUrl, UrlRules

_REDIRECTS = frozenset({301, 302, 303, 307, 308})


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchedPicture:
    """A picture's bytes and what they are by their beginning."""

    content: bytes
    format: PictureFormat
    redirects: int = 0

    def __repr__(self) -> str:
        return f"<FetchedPicture {self.format} {len(self.content)} bytes>"


@dataclass(frozen=True, slots=True, kw_only=True)
class PostReply:
    """What a receiver answered."""

    status: int
    body: str
    """Its first 16 KiB as text; empty when compressed."""
    retry_after_seconds: float | None
    duration_ms: float


class GuardedClient:
    """Fetches pictures and posts callbacks under one set of rules."""

    def __init__(
        self, settings: NetSettings, *, resolver: Resolver | None = None, tls: ssl.SSLContext | None = None
    ) -> None:
        """Build the pools; nothing is opened yet.

        Args:
            settings: Bounds and allowed networks.
            resolver: In `socket.getaddrinfo`'s shape, blocking, called in a thread and trusted to
                return within its own time limit. None = the system's name servers.
            tls: None = certifi's and the system's authorities.

        Raises:
            SettingsError: A network cannot be allowed.
        """
        self._settings = settings
        self.rules = UrlRules(settings)
        self._turns = HostTurns(settings.per_host_limit)
        names = resolver or SystemResolver(timeout_seconds=settings.dns_timeout_seconds)
        trust = tls or _default_tls()

        def pair(*, keeps: bool = True) -> tuple[Lanes, Lanes]:
            """For every address that is allowed, and for loopback alone."""
            count, each = settings.clients, settings.in_flight_per_client
            wide, narrow = (
                Lanes(policy, names, trust, count=count, in_flight_each=each, keeps=keeps)
                for policy in (self.rules.policy, self.rules.loopback_policy)
            )
            return wide, narrow

        self._fetching, self._posting = pair(), pair()
        # Where an earlier try failed the name is looked up anew; a kept connection would spare that.
        self._posting_again = pair(keeps=False)

    async def __aenter__(self) -> GuardedClient:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close every connection."""
        async with AsyncExitStack() as stack:
            for wide, narrow in (self._fetching, self._posting, self._posting_again):
                stack.push_async_callback(wide.aclose)
                stack.push_async_callback(narrow.aclose)

    def check_url(self, url: str) -> None:
        """Refuse what needs no look-up; see `UrlRules.check_url`."""
        self.rules.check_url(url)

    async def fetch_picture(self, url: str, *, traceparent: str | None = None) -> FetchedPicture:
        """Fetch one picture.

        Waiting for the host's turn is not part of the time limit; all else is.

        Raises:
            FetchTimeout, FetchFailed, FetchStatus, BlockedAddress, PictureTooLarge, NotAnImage
        """
        headers = {"traceparent": traceparent} if traceparent else {}
        with told_as(PICTURE):
            async with asyncio.timeout(None) as limit:
                target = self.rules.checked(url)
                for hop in range(self._settings.max_redirects + 1):
                    async with self._turns.turn(target.host):
                        if limit.when() is None:
                            now = asyncio.get_running_loop().time()
                            limit.reschedule(now + self._settings.fetch_timeout_seconds)
                        outcome = await self._get(target, headers)
                    if isinstance(outcome, bytes):
                        return _picture(outcome, redirects=hop)
                    target, headers = outcome, {}
        raise FetchFailed("The picture's server redirected too often.")

    async def _get(self, target: CheckedUrl, headers: Mapping[str, str]) -> bytes | CheckedUrl:
        """Ask one address: the picture's bytes, or where it is said to be."""
        lanes = self._fetching[target.only_loopback]
        request = self._request("GET", target, {"accept": "image/*", **headers}, None)
        async with _sent(lanes, request) as response:
            location = response.headers.get("location")
            if response.status_code in _REDIRECTS and location is not None:
                return self._redirected(target, location)
            if not 200 <= response.status_code <= 299:
                raise FetchStatus(response.status_code, retry_after_seconds(response))
            return await read_picture(response, self._settings)

    def _redirected(self, source: CheckedUrl, location: str) -> CheckedUrl:
        """Check where a redirect leads as if it had been submitted; never from https to http."""
        try:
            target = self.rules.checked(str(source.url.join(location)))
        except (InvalidUrl, httpx.InvalidURL, ValueError):
            raise BlockedAddress("The picture's server redirected to an url that may not be asked.") from None
        if source.url.scheme == "https" and target.url.scheme != "https":
            raise BlockedAddress("The picture's server redirected from https to http.")
        return target

    async def post(
        self, url: str, body: bytes, headers: Mapping[str, str], *, again: bool = False
    ) -> PostReply:
        """Send one POST; a redirect is an answer like any other.

        An address is checked when its connection is made. `again` = an earlier try failed: make a new one.

        Raises:
            DeliveryTimeout, DeliveryFailed, DeliveryBlocked
        """
        started = time.monotonic()
        with told_as(CALLBACK):
            target = self.rules.checked(url)
            lanes = (self._posting_again if again else self._posting)[target.only_loopback]
            request = self._request("POST", target, headers, body)
            async with (
                asyncio.timeout(self._settings.post_timeout_seconds),
                _sent(lanes, request) as response,
            ):
                reply = await read_reply(response, self._settings.max_reply_bytes)
        return PostReply(
            status=response.status_code,
            body=reply,
            retry_after_seconds=retry_after_seconds(response),
            duration_ms=(time.monotonic() - started) * 1000,
        )

    def _request(
        self, method: str, target: CheckedUrl, headers: Mapping[str, str], body: bytes | None
    ) -> httpx.Request:
        own = {"user-agent": self._settings.user_agent, "accept-encoding": "identity"}
        limits = httpx.Timeout(
            max(self._settings.fetch_timeout_seconds, self._settings.post_timeout_seconds),
            connect=self._settings.connect_timeout_seconds,
        )
        return httpx.Request(
            method,
            target.url,
            headers=own | {name.lower(): value for name, value in headers.items()},
            content=body,
            extensions={"timeout": limits.as_dict()},
        )


@asynccontextmanager
async def _sent(lanes: Lanes, request: httpx.Request) -> AsyncIterator[httpx.Response]:
    """Send and lend the response with its body still unread."""
    async with lanes.lane() as transport:
        response = await transport.handle_async_request(request)
        try:
            yield response
        finally:
            await response.aclose()


def _picture(content: bytes, *, redirects: int) -> FetchedPicture:
    kind = picture_format(content)
    if kind is None:
        raise NotAnImage
    return FetchedPicture(content=content, format=kind, redirects=redirects)


@functools.cache
def _default_tls() -> ssl.SSLContext:
    context = httpx.create_ssl_context(trust_env=False)
    context.load_default_certs()
    return context
