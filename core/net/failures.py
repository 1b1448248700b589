"""What went wrong below, said in our errors: coarse, without addresses and queries."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import httpx
from ssrfguard import BlockedAddressError, SSRFGuardError

from core.errors import (
    BlockedAddress,
    DeliveryBlocked,
    DeliveryFailed,
    DeliveryTimeout,
    FetchFailed,
    FetchTimeout,
    InvalidUrl,
    MusterError,
)
from core.net.addresses import Refusal
from core.net.resolver import NameTimeout
from core.net.urls import BLOCKED_MESSAGES


@dataclass(frozen=True, slots=True, kw_only=True)
class Kinds:
    """The errors of one kind of request, and whom it asks."""

    peer: str
    timeout: type[MusterError]
    failed: type[MusterError]
    blocked: type[MusterError]


PICTURE = Kinds(peer="picture's server", timeout=FetchTimeout, failed=FetchFailed, blocked=BlockedAddress)
CALLBACK = Kinds(peer="receiver", timeout=DeliveryTimeout, failed=DeliveryFailed, blocked=DeliveryBlocked)


@contextmanager
def told_as(kinds: Kinds) -> Iterator[None]:
    """Turn every failure of the network and every refusal of the guard into one of `kinds`.

    Refusals are told `from None`: the guard's own messages quote the url and the address.
    """
    try:
        yield
    except (BlockedAddress, InvalidUrl) as refused:
        raise kinds.blocked(refused.message) from None
    except SSRFGuardError as refused:
        raise kinds.blocked(_blocked_message(refused)) from None
    except (TimeoutError, httpx.TimeoutException) as late:
        raise kinds.timeout() from late
    except (httpx.TransportError, OSError) as failed:  # OSError: a reset between connect and TLS
        if _has_cause(failed, NameTimeout):
            raise kinds.timeout(f"The name of the {kinds.peer} could not be looked up in time.") from failed
        raise kinds.failed(_failed_message(failed, kinds.peer)) from failed


def _blocked_message(refused: SSRFGuardError) -> str:
    """Tell private from special only where the answer of one address decided."""
    is_private = isinstance(refused, BlockedAddressError) and refused.reason == Refusal.PRIVATE
    return BLOCKED_MESSAGES[Refusal.PRIVATE if is_private else Refusal.SPECIAL]


def _failed_message(failed: BaseException, peer: str) -> str:
    if _has_cause(failed, socket.gaierror):
        return f"The name of the {peer} could not be looked up."
    if _has_cause(failed, ssl.SSLError):
        return f"The {peer} could not prove its identity (TLS)."
    if isinstance(failed, httpx.ConnectError):
        return f"The {peer} could not be reached."
    return f"The connection to the {peer} broke."


def _has_cause(failed: BaseException, kind: type[BaseException]) -> bool:
    cause: BaseException | None = failed
    while cause is not None:
        if isinstance(cause, kind):
            return True
        cause = cause.__cause__ or cause.__context__
    return False
