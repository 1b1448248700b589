"""Where a web process may listen."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from app.cli.listening import PortTaken, open_listener, open_unix_listener, refuse_open_door, url_of
from core.errors import SettingsError
from core.settings import load_settings


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.1", "no-such-host.invalid", "169.254.0.1"])
def test_without_authentication_the_network_stays_outside(host: str) -> None:
    with pytest.raises(SettingsError, match="MUSTER_ALLOW_INSECURE=1"):
        refuse_open_door(load_settings(auth="off"), host)
    refuse_open_door(load_settings(auth="on"), host)
    refuse_open_door(load_settings(auth="off", allow_insecure=True), host)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "::1", "localhost"])
def test_without_authentication_this_machine_may_come_in(host: str) -> None:
    refuse_open_door(load_settings(auth="off"), host)


def test_a_free_port_is_taken_on_request_and_a_taken_one_is_refused() -> None:
    with open_listener("127.0.0.1", 0) as first:
        port = first.getsockname()[1]
        assert url_of(first) == f"http://127.0.0.1:{port}"
        with pytest.raises(PortTaken, match=f"Port {port} on 127.0.0.1"):
            open_listener("127.0.0.1", port)


def test_an_address_of_another_machine_is_refused() -> None:
    with pytest.raises(SettingsError, match="Cannot listen"):
        open_listener("192.0.2.1", 0)


def test_a_unix_socket_that_nobody_listens_on_is_replaced_and_a_used_one_is_not(tmp_path: Path) -> None:
    path = tmp_path / "web.sock"
    with open_unix_listener(path) as first:
        assert url_of(first) == ""
        with pytest.raises(PortTaken):
            open_unix_listener(path)
    with open_unix_listener(path) as second, socket.socket(socket.AF_UNIX) as caller:
        caller.connect(str(path))
        second.accept()[0].close()


def test_a_file_that_is_no_socket_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("mine")
    with pytest.raises(SettingsError):
        open_unix_listener(path)
    assert path.read_text() == "mine"
