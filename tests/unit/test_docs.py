"""The documents say what is there."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.cli.main import COMMANDS
from app.cli.settings_table import setting_groups
from app.openapi.document import OPERATIONS
from scripts.generate_docs import documents, filled
from tests.support.documents import blocks, headings, prose
from tests.support.sources import ROOT, python_files, text_of

DOCUMENTS = documents()
NAMES = [str(path.relative_to(ROOT)) for path in DOCUMENTS]
NOT_OF_THE_SERVICE = {"MUSTER_LISTEN"}
"""Read by docker-compose.yml alone."""

_LINK = re.compile(r"(?<!\\)\]\((?P<target>[^)\s]+)\)")
_NAMED_FILE = re.compile(
    r"`(?P<path>(?:core|app|worker|client|alembic|docs|models|demo|scripts|tests)/[\w./-]+)"
)
_NAMED_TEST = re.compile(r"`(?P<path>tests/[\w/]+\.py)::(?P<name>test_\w+)`")
_COMMAND = re.compile(r"(?:^|[`$/ ])muster (?P<name>[a-z][a-z-]*)", re.MULTILINE)
_DECISION_PARTS = ["## Context", "## Decision", "## Consequences", "## Alternatives"]

of_every_document = pytest.mark.parametrize("path", DOCUMENTS, ids=NAMES)


@of_every_document
def test_what_is_generated_is_up_to_date(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert text == filled(text), "run: python -m scripts.generate_docs"


@of_every_document
def test_a_link_leads_to_something(path: Path) -> None:
    broken = []
    for link in _LINK.finditer(prose(path)):
        target, _, anchor = link["target"].partition("#")
        if "://" in target:
            continue
        place = (path.parent / target).resolve() if target else path
        if not place.exists() or (anchor and anchor not in headings(place)):
            broken.append(link["target"])
    assert broken == []


@of_every_document
def test_a_file_that_is_named_exists(path: Path) -> None:
    named = {found["path"].rstrip(".") for found in _NAMED_FILE.finditer(prose(path))}
    assert sorted(name for name in named if not (ROOT / name).exists()) == []


@of_every_document
def test_a_test_that_is_named_exists(path: Path) -> None:
    missing = [
        found[0]
        for found in _NAMED_TEST.finditer(prose(path))
        if not (ROOT / found["path"]).exists()
        or f"def {found['name']}(" not in (ROOT / found["path"]).read_text(encoding="utf-8")
    ]
    assert missing == []


@of_every_document
def test_a_variable_that_is_named_is_a_setting(path: Path) -> None:
    known = {row.variable for group in setting_groups() for row in group.rows} | NOT_OF_THE_SERVICE
    named = set(re.findall(r"\bMUSTER_[A-Z_]+\b", path.read_text(encoding="utf-8")))
    assert sorted(named - known) == []


@of_every_document
def test_a_command_that_is_named_exists(path: Path) -> None:
    inline = " ".join(re.findall(r"`[^`\n]+`", prose(path)))
    consoles = "\n".join(blocks(path, "console"))
    named = {found["name"] for found in _COMMAND.finditer(f"{inline}\n{consoles}")}
    assert sorted(named - set(COMMANDS)) == []


@of_every_document
def test_a_json_example_is_json(path: Path) -> None:
    for block in blocks(path, "json"):
        json.loads(block)


def decisions() -> Iterator[Path]:
    """Give the pages of decisions in their order."""
    return iter(sorted((ROOT / "docs" / "decisions").iterdir()))


def test_decisions_are_numbered_and_have_four_parts() -> None:
    for number, page in enumerate(decisions(), 1):
        text = page.read_text(encoding="utf-8")
        assert page.name.startswith(f"{number:04}-")
        assert text.startswith(f"# {number:04} ")
        assert re.findall(r"^## .+$", text, re.MULTILINE) == _DECISION_PARTS


def test_the_guide_names_every_call() -> None:
    guide = re.sub(r"\{\w+\}", "{}", (ROOT / "docs" / "api.md").read_text(encoding="utf-8"))
    calls = [f"{each.method.upper()} {each.path}" for each in OPERATIONS if "{asset}" not in each.path]
    unnamed = [call for call in calls if f"`{re.sub(r'{[a-z_]+}', '{}', call)}`" not in guide]
    assert unnamed == []


def test_every_error_code_of_the_guides_is_one_of_the_code() -> None:
    guides = "".join((ROOT / "docs" / name).read_text(encoding="utf-8") for name in ("api.md", "webhooks.md"))
    named = set(
        re.findall(
            r"`((?:image|recogniser|callback|area|task|queue|attempts|worker|cancelled)_[a-z_]+)`", guides
        )
    )
    fields = {"callback_url", "callback_events", "queue_ttl_seconds", "task_num", "task_id", "image_url"}
    core = "".join(text_of(path) for path in python_files() if path.parts[0] == "core")
    assert sorted(code for code in named - fields if f'"{code}"' not in core) == []
