"""Models for tests: the built-in ones, and those of tests/support/recognisers.py."""

from __future__ import annotations

from core.catalogue import ModelSpec, describe, load_catalogue
from tests.support import recognisers


def model(name: str, **options: str | int | float | bool) -> ModelSpec:
    """A built-in model by its name, or one of the tests' own by the name of its class."""
    built_in = load_catalogue().find(name)
    if built_in is not None:
        return built_in
    own = getattr(recognisers, name)
    return describe(f"{recognisers.HERE}:{name}", {own.name: options})
