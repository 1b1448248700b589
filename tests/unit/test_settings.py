"""Settings: read from the environment, checked at start, wrong ones named."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from core.errors import SettingsError
from core.settings import Settings, environment_with, load_settings

_WEBHOOK = "whsec_c2VjcmV0"
_KEY = "a-key-of-at-least-thirty-two-characters"


def test_a_variable_reaches_its_group(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MUSTER_DATABASE_POOL_SIZE", "3")
    monkeypatch.setenv("MUSTER_QUEUE_LEASE_SECONDS", "2.5")
    monkeypatch.setenv("MUSTER_FETCH_ALLOW", "192.168.0.0/16, 10.1.0.0/16")
    settings = load_settings()
    assert settings.database.pool_size == 3
    assert settings.queue.lease_seconds == 2.5
    assert settings.fetch.allow == ("192.168.0.0/16", "10.1.0.0/16")


def test_every_wrong_variable_is_named_at_once_with_its_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MUSTER_AUTH", "maybe")
    monkeypatch.setenv("MUSTER_WORKER_SLOTS", "none")
    monkeypatch.setenv("MUSTER_TIME_ZONE", "Ranch/North")
    with pytest.raises(SettingsError) as caught:
        load_settings()
    for expected in (
        "MUSTER_AUTH",
        "'on' or 'off'",
        "MUSTER_WORKER_SLOTS",
        "MUSTER_TIME_ZONE",
        "Europe/Berlin",
    ):
        assert expected in caught.value.message


def test_a_short_secret_key_is_refused_without_being_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MUSTER_SECRET_KEY", "tooshort-9f3")
    with pytest.raises(SettingsError) as caught:
        load_settings()
    assert "openssl rand -hex 32" in caught.value.message
    assert "9f3" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_secrets_are_not_shown() -> None:
    settings = load_settings(secret_key=_KEY, embedded_webhook_secret=_WEBHOOK)
    assert _KEY not in repr(settings)
    assert _WEBHOOK not in repr(settings)


def test_what_a_command_says_wins_over_the_environment_and_leaves_the_rest(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MUSTER_DATABASE_URL", "mysql+asyncmy://elsewhere/muster")
    monkeypatch.setenv("MUSTER_DATABASE_POOL_SIZE", "3")
    database = load_settings(database={"url": "sqlite+aiosqlite:///here.db"}).database
    assert (database.url, database.pool_size) == ("sqlite+aiosqlite:///here.db", 3)


def test_settings_cannot_be_changed() -> None:
    settings: Any = load_settings()
    with pytest.raises(ValidationError):
        settings.auth = "off"


def test_a_child_inherits_the_environment_with_what_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MUSTER_WORKER_SLOTS", "2")
    monkeypatch.setenv("MUSTER_AUTH", "on")
    given = environment_with({"MUSTER_AUTH": "off"})
    assert (given["MUSTER_WORKER_SLOTS"], given["MUSTER_AUTH"]) == ("2", "off")


def test_children_default_to_the_number_of_cores() -> None:
    assert Settings().children >= 1
    assert load_settings(recognise={"children": 7}).children == 7
