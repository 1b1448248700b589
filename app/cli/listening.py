"""The socket that the web process listens on: opened first, so that what is wrong is said first."""

from __future__ import annotations

import errno
import ipaddress
import socket
from pathlib import Path

from core.errors import MusterError, SettingsError
from core.settings import Settings

BACKLOG = 2048


class PortTaken(MusterError):
    """Another program listens on this port."""

    code = "port_taken"


def open_listener(host: str, port: int) -> socket.socket:
    """Listen on an address; port 0 takes a free one.

    Raises:
        PortTaken: another program listens there.
        SettingsError: this machine has no such address.
    """
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.create_server(address[:2], family=family, backlog=BACKLOG)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise PortTaken(
                f"Port {port} on {host} is taken by another program; "
                "choose another with --port, or --port 0 for a free one."
            ) from error
        raise SettingsError(f"Cannot listen on {host}:{port}: {error.strerror or error}") from error
    return listener


def open_unix_listener(path: Path) -> socket.socket:
    """Listen on a unix socket, in place of one that nobody listens on any more."""
    if _answers(path):
        raise PortTaken(f"Another program listens on {path}.")
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        if path.is_socket():
            path.unlink()
        listener.bind(str(path))
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise SettingsError(f"Cannot listen on {path}: {error.strerror or error}") from error
    return listener


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(str(path))
        except OSError:
            return False
    return True


def url_of(listener: socket.socket) -> str:
    """The address to type into a browser; empty for a unix socket."""
    if listener.family == socket.AF_UNIX:
        return ""
    host, port = listener.getsockname()[:2]
    address = ipaddress.ip_address(host.partition("%")[0])
    if address.is_unspecified:
        return f"http://{socket.gethostname()}:{port}"
    return f"http://[{address}]:{port}" if address.version == 6 else f"http://{address}:{port}"


def refuse_open_door(settings: Settings, host: str) -> None:
    """Raise SettingsError when anybody on the network could come in without a key."""
    if settings.auth == "on" or settings.allow_insecure or _is_loopback(host):
        return
    raise SettingsError(
        f"MUSTER_AUTH=off on {host} would let everybody on the network in. Listen on 127.0.0.1, "
        "set MUSTER_AUTH=on, or, if a proxy in front checks who comes, set MUSTER_ALLOW_INSECURE=1."
    )


def _is_loopback(host: str) -> bool:
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except OSError:
        return False
    return all(ipaddress.ip_address(str(each[4][0]).partition("%")[0]).is_loopback for each in found)
