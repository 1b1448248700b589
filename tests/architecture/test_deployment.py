"""The files that put the service on a machine agree with the code and with their own formats."""

from __future__ import annotations

import json
import re
import tomllib
from importlib.resources import files
from typing import Any

import click
import jsonschema
import pytest
import yaml

from app.cli.main import cli
from core.settings import Settings
from tests.support.sources import ROOT

_SCHEMA = files("check_jsonschema").joinpath("builtin_schemas", "vendor", "compose-spec.json")


def _compose(name: str) -> Any:
    return yaml.safe_load((ROOT / name).read_text())


def _variables() -> set[str]:
    """Name every environment variable that sets something."""
    names = set()
    for name, field in Settings.model_fields.items():
        group = getattr(field.annotation, "model_fields", None)
        names |= (
            {f"MUSTER_{name}_{inner}".upper() for inner in group} if group else {f"MUSTER_{name}".upper()}
        )
    return names


@pytest.mark.parametrize("name", ["docker-compose.yml", "tests/docker-compose.yml"])
def test_a_compose_file_keeps_to_the_specification(name: str) -> None:
    schema = json.loads(_SCHEMA.read_text())
    jsonschema.validators.validator_for(schema)(schema).validate(_compose(name))


def test_the_specification_refuses_a_misspelt_key() -> None:
    schema = json.loads(_SCHEMA.read_text())
    wrong: Any = {"services": {"web": {"image": "muster", "helthcheck": {}}}}
    assert not jsonschema.validators.validator_for(schema)(schema).is_valid(wrong)


def test_every_service_waits_for_what_it_needs() -> None:
    services = _compose("docker-compose.yml")["services"]
    assert services["migrate"]["depends_on"] == {"mariadb": {"condition": "service_healthy"}}
    for name in ("web", "worker"):
        assert services[name]["depends_on"] == {
            "migrate": {"condition": "service_completed_successfully"},
            "valkey": {"condition": "service_healthy"},
        }
    assert services["worker"]["deploy"]["replicas"] >= 2


def test_every_service_is_hardened() -> None:
    for name, service in _compose("docker-compose.yml")["services"].items():
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert service.get("read_only") or name == "mariadb", name


def test_a_named_volume_is_declared_and_used() -> None:
    compose = _compose("docker-compose.yml")
    used = {volume.split(":")[0] for service in compose["services"].values() for volume in service["volumes"]}
    assert used == set(compose["volumes"])


def test_no_secret_has_a_default() -> None:
    text = (ROOT / "docker-compose.yml").read_text()
    secrets = re.findall(r"\$\{(\w*(?:PASSWORD|SECRET)\w*)(.{0,2})", text)
    assert {name for name, _ in secrets} == {"MARIADB_PASSWORD", "VALKEY_PASSWORD", "MUSTER_SECRET_KEY"}
    assert {ending for _, ending in secrets} == {":?"}


def test_every_setting_of_the_deployment_exists() -> None:
    services = _compose("docker-compose.yml")["services"]
    named = {name for service in services.values() for name in service.get("environment", {})}
    named |= set(re.findall(r"^(?:ENV)?\s+(MUSTER_\w+)=", (ROOT / "Dockerfile").read_text(), re.MULTILINE))
    assert {name for name in named if name.startswith("MUSTER_")} <= _variables()


def test_the_image_runs_without_root_and_with_the_locked_packages_only() -> None:
    lines = (ROOT / "Dockerfile").read_text().splitlines()
    assert lines.count("USER 10001:10001") == 1
    assert lines.index("USER 10001:10001") < lines.index('ENTRYPOINT ["muster"]')
    assert not any("requirements/dev.txt" in line for line in lines)
    assert sum("--require-hashes" in line for line in lines) == 2


@pytest.mark.parametrize("name", ["base", "dev", "build"])
def test_every_locked_package_has_a_hash_and_no_address(name: str) -> None:
    text = (ROOT / "requirements" / f"{name}.txt").read_text()
    entries = re.split(r"\n(?=[a-z0-9])", text.strip())
    assert [entry.split()[0] for entry in entries if "--hash=sha256:" not in entry] == []
    assert "://" not in text


def test_every_dependency_is_locked() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for name, wanted in (
        ("base", project["dependencies"]),
        ("dev", project["optional-dependencies"]["dev"]),
    ):
        text = (ROOT / "requirements" / f"{name}.txt").read_text()
        locked = set(re.findall(r"^([a-z0-9-]+)(?:\[[\w,]+\])?==", text, re.MULTILINE))
        assert {re.split(r"[\[<>=;~ ]", entry)[0].lower() for entry in wanted} <= locked


def _started() -> list[list[str]]:
    """Give the arguments of every `muster` that the Procfile, the compose file or the image starts."""
    procfile = (ROOT / "Procfile").read_text().replace("${PORT:-8000}", "8000").splitlines()
    image = re.search(r"^CMD (\[.*\])$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    assert image
    services = _compose("docker-compose.yml")["services"]
    return [
        *(line.split(": muster ", 1)[1].split() for line in procfile),
        *(services[name]["command"] for name in ("migrate", "web", "worker")),
        json.loads(image[1]),
    ]


@pytest.mark.parametrize("arguments", _started(), ids=" ".join)
def test_every_command_of_the_deployment_exists(arguments: list[str]) -> None:
    with click.Context(cli) as context:
        command = cli.get_command(context, arguments[0])
        assert command is not None
        command.make_context(arguments[0], list(arguments[1:]), parent=context)


def test_the_procfile_names_the_processes_of_a_platform() -> None:
    lines = (ROOT / "Procfile").read_text().splitlines()
    assert [line.split(":")[0] for line in lines] == ["web", "worker", "release"]
