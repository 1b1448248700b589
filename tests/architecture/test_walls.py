"""Who may know whom. The walls between modules are in .importlinter; these are the others."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.sources import ROOT, imports_of, is_below, python_files, tree_of

_EXEMPT = ("tests", "demo", "benchmarks")
_OURS = ("core", "app", "worker", "tests")


def _users_of(*packages: str) -> list[Path]:
    return [
        path
        for path in python_files()
        if any(name.split(".")[0] in packages for name in imports_of(path)) and not is_below(path, *_EXEMPT)
    ]


def _reads_environment(path: Path) -> bool:
    reads = any(
        isinstance(node, ast.Attribute)
        and node.attr in ("environ", "getenv", "environb")
        and isinstance(node.value, ast.Name)
        and node.value.id == "os"
        for node in ast.walk(tree_of(path))
    )
    return reads or any(name in ("os.environ", "os.getenv") for name in imports_of(path))


def test_the_walls_between_the_modules_stand() -> None:
    linter = Path(sys.executable).with_name("lint-imports")
    answer = subprocess.run(
        [linter, "--no-cache"], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert answer.returncode == 0, answer.stdout + answer.stderr


@pytest.mark.parametrize(
    ("packages", "rooms"),
    [
        (("redis",), ("core/queue",)),
        (("sqlalchemy", "aiosqlite", "asyncmy", "asyncpg"), ("core/store", "alembic")),
        (("httpx", "ssrfguard"), ("core/net", "core/net.py", "app/cli", "client")),
        (("quart",), ("app",)),
        (("uvicorn",), ("app", "worker/health.py")),
        (("onnxruntime",), ("worker/recognisers",)),
    ],
)
def test_a_library_is_known_to_its_room_alone(packages: tuple[str, ...], rooms: tuple[str, ...]) -> None:
    assert [str(path) for path in _users_of(*packages) if not is_below(path, *rooms)] == []


def test_only_the_settings_read_the_environment() -> None:
    readers = [str(path) for path in python_files() if _reads_environment(path)]
    ours = [path for path in readers if not is_below(Path(path), *_EXEMPT, "client")]
    assert [path for path in ours if path != "core/settings.py"] == []


def test_the_client_knows_nothing_of_the_service() -> None:
    clients = [path for path in python_files() if is_below(path, "client")]
    found = {str(path): name for path in clients for name in imports_of(path) if name.split(".")[0] in _OURS}
    assert found == {}


def test_only_a_factory_loads_the_settings() -> None:
    doors = ("app/factory.py", "worker/factory.py", "worker/__main__.py", "app/asgi.py", "app/cli")
    callers = [
        str(path)
        for path in python_files()
        if "core.settings.load_settings" in imports_of(path) and not is_below(path, *_EXEMPT, *doors)
    ]
    assert callers == []
