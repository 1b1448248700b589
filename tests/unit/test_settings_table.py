"""The printed table of settings is the settings."""

from __future__ import annotations

import pytest

from app.cli.settings_table import as_markdown, setting_groups
from core.settings import Settings, load_settings

ROWS = [row for group in setting_groups() for row in group.rows]


def test_every_setting_has_a_meaning() -> None:
    assert [row.variable for row in ROWS if len(row.meaning) < 10] == []


def test_every_variable_stands_in_the_table_once() -> None:
    variables = [row.variable for row in ROWS]
    assert len(variables) == len(set(variables))
    assert {"MUSTER_DATABASE_URL", "MUSTER_AUTH", "MUSTER_DELIVERY_SCHEDULE_SECONDS"} <= set(variables)


def test_every_default_can_be_written_into_the_environment_as_it_is_printed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for row in ROWS:
        if row.default:
            monkeypatch.setenv(row.variable, row.default)
    assert load_settings().model_dump() == Settings.model_construct().model_dump()


def test_another_value_reaches_the_setting_that_the_table_names(monkeypatch: pytest.MonkeyPatch) -> None:
    numbers = [row for row in ROWS if row.default.isdigit()]
    for row in numbers:
        monkeypatch.setenv(row.variable, str(int(row.default) + 1))
    changed = load_settings().model_dump()
    for row in numbers:
        group, _, name = row.variable.removeprefix("MUSTER_").lower().partition("_")
        assert changed[group][name] == int(row.default) + 1, row.variable


def test_the_markdown_has_a_row_for_each_setting() -> None:
    lines = as_markdown(setting_groups()).splitlines()
    for row in ROWS:
        assert sum(line.startswith(f"| `{row.variable}` |") for line in lines) == 1
    assert all(line.count("|") - line.count("\\|") == 4 for line in lines if line.startswith("|"))
