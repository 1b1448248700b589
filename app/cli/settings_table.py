"""The table of all settings, made from the settings themselves."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined, to_jsonable_python

from core.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class SettingRow:
    """One setting."""

    variable: str
    default: str
    meaning: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SettingGroup:
    """Settings that belong together."""

    title: str
    rows: tuple[SettingRow, ...]


def setting_groups() -> list[SettingGroup]:
    """Every setting; those of the service as a whole come first."""
    fields = Settings.model_fields
    plain = {name: field for name, field in fields.items() if not isinstance(field.default, BaseModel)}
    groups = [SettingGroup(title="The service", rows=tuple(_rows("MUSTER_", plain)))]
    for name, field in fields.items():
        if isinstance(field.default, BaseModel):
            kind = type(field.default)
            title = (kind.__doc__ or name).strip().splitlines()[0].rstrip(".")
            groups.append(
                SettingGroup(title=title, rows=tuple(_rows(f"MUSTER_{name.upper()}_", kind.model_fields)))
            )
    return groups


def as_markdown(groups: list[SettingGroup]) -> str:
    """The tables as they stand in the documentation."""
    parts = []
    for group in groups:
        lines = [f"### {group.title}", "", "| variable | default | meaning |", "|---|---|---|"]
        for row in group.rows:
            default = f"`{_cell(row.default)}`" if row.default else "(empty)"
            lines.append(f"| `{row.variable}` | {default} | {_cell(row.meaning)} |")
        parts.append("\n".join(lines))
    return "\n\n".join(parts) + "\n"


def _rows(prefix: str, fields: dict[str, FieldInfo]) -> Iterator[SettingRow]:
    for name, field in fields.items():
        yield SettingRow(
            variable=f"{prefix}{name.upper()}",
            default=_written(field.default),
            meaning=field.description or "",
        )


def _written(default: Any) -> str:
    """A default as one would write it into the environment."""
    if default is None or default is PydanticUndefined:
        return ""
    plain = to_jsonable_python(default)
    if isinstance(plain, str):
        return plain
    if isinstance(plain, list) and all(isinstance(item, str) for item in plain):
        return ",".join(plain)
    return json.dumps(plain, separators=(",", ":"))


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
