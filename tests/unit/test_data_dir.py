"""The folder of an embedded service."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from app.cli.embedded.data_dir import AlreadyRunning, DataDir, environment_of, open_data_dir
from app.cli.installation import installed_settings
from core.errors import SettingsError
from core.settings import load_settings


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "data"


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_the_folder_and_its_secrets_are_for_their_owner_alone(folder: Path) -> None:
    folder.mkdir(mode=0o755)
    with open_data_dir(folder) as opened:
        assert _mode(folder) == 0o700
        assert {_mode(folder / name) for name in ("secret_key", "webhook_secret")} == {0o600}
        assert opened.secret_key not in repr(opened)
        assert opened.webhook_secret not in repr(opened)


def test_secrets_stay_the_same_from_start_to_start_and_differ_from_folder_to_folder(tmp_path: Path) -> None:
    found = []
    for name in ("one", "one", "two"):
        with open_data_dir(tmp_path / name) as opened:
            found.append((opened.secret_key, opened.webhook_secret))
    assert found[0] == found[1]
    assert len({*found[0], *found[2]}) == 4


def test_a_second_one_is_refused_and_named_the_first(folder: Path) -> None:
    with open_data_dir(folder) as opened:
        opened.announce({"url": "http://127.0.0.1:8123", "pid": os.getpid()})
        with (
            pytest.raises(AlreadyRunning, match=f"process {os.getpid()}, http://127.0.0.1:8123"),
            open_data_dir(folder),
        ):
            pass
        assert (folder / "ready.json").exists()
    with open_data_dir(folder):
        assert not (folder / "ready.json").exists()


def test_a_folder_that_cannot_be_is_refused_with_its_name(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for wrong in (tmp_path / "file", tmp_path / "file" / "below", tmp_path / "what?"):
        with pytest.raises(SettingsError, match="choose another --data-dir"), open_data_dir(wrong):
            pass


def test_the_socket_of_a_deep_folder_is_reached_by_a_short_path_that_goes_away_again(tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 120)
    with open_data_dir(deep) as opened:
        short = opened.socket
        assert len(str(short)) < 100
        assert short.parent.resolve() == deep
        opened.announce({"redis_url": opened.redis_url})
        assert DataDir.existing(deep).socket == short
    assert not short.parent.exists()


def test_settings_as_variables_are_the_same_settings(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with open_data_dir(folder) as opened:
        overrides = opened.overrides("http://127.0.0.1:8000")
    expected = load_settings(**overrides)
    for name, value in environment_of(overrides).items():
        monkeypatch.setenv(name, value)
    assert load_settings() == expected
    assert (expected.embedded, expected.auth) == (True, "off")


def test_a_path_with_odd_letters_reaches_redis(tmp_path: Path) -> None:
    with open_data_dir(tmp_path / "a b#c%d") as opened:
        assert opened.redis_url.endswith("/a%20b%23c%25d/valkey.sock")


def test_commands_mean_the_folder_here_unless_the_environment_names_another_database(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert not installed_settings(None).embedded
    with open_data_dir(Path(".muster")):
        (tmp_path / ".muster" / "muster.db").touch()
    assert installed_settings(None).embedded
    monkeypatch.setenv("MUSTER_REDIS_URL", "redis://elsewhere:6379/0")
    assert installed_settings(None).redis.url == "redis://elsewhere:6379/0"
    assert installed_settings(".muster").embedded
    with pytest.raises(SettingsError, match="is not the folder of"):
        installed_settings("nowhere")
