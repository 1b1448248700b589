"""Which recognisers are installed and what each can be asked: descriptions only, no weights, no pixels.

Both doors read this: the HTTP door to answer `GET /v1/models` and to refuse unknown prompts, the
worker to tell its child processes what to import. Recognisers are found by the entry point group
`muster.recognisers` and by `module:Class` paths from the settings; worker/recognisers/base.py is
the protocol they follow.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any

from core.errors import SettingsError

GROUP = "muster.recognisers"
BUILT_IN = ("worker.recognisers.picture:PictureRecogniser", "worker.recognisers.ssd:SsdRecogniser")
"""In every installation, also in a checkout whose entry points are not registered."""
ALL = "ALL"

Options = Mapping[str, str | int | float | bool]

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,31}")
_WORD = re.compile(r"[A-Z0-9][A-Z0-9 ._-]{0,31}")


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSpec:
    """What a recogniser says of itself, where it is imported from and the options it is built with."""

    name: str
    prompts: tuple[str, ...]
    labels: tuple[str, ...]
    default_min_score: float
    path: str
    """`module:Class`, imported in the child process."""
    options: Options = field(default_factory=dict)

    def knows(self, prompt: str) -> bool:
        """Whether the model can be asked for `prompt` (upper-case)."""
        return prompt in self.prompts


@dataclass(frozen=True, slots=True, kw_only=True)
class Catalogue:
    """All installed models, ordered by name."""

    models: tuple[ModelSpec, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """The names of all models."""
        return tuple(model.name for model in self.models)

    def find(self, name: str) -> ModelSpec | None:
        """The model of that name, if there is one."""
        return next((model for model in self.models if model.name == name), None)


def load_catalogue(extra: Sequence[str] = (), options: Mapping[str, Options] | None = None) -> Catalogue:
    """Describe every installed recogniser.

    Args:
        extra: More recognisers as `module:Class`.
        options: What each recogniser is built with, by model name.

    Raises:
        SettingsError: One cannot be imported, breaks the protocol, or takes a name that is taken.
    """
    chosen = options or {}
    paths = [point.value for point in entry_points(group=GROUP)]
    specs: dict[str, ModelSpec] = {}
    for path in dict.fromkeys((*BUILT_IN, *paths, *extra)):
        spec = describe(path, chosen)
        if spec.name in specs:
            raise SettingsError(
                f"Recognisers {specs[spec.name].path} and {path} are both named {spec.name!r}."
            )
        specs[spec.name] = spec
    unknown = sorted(set(chosen) - set(specs))
    if unknown:
        raise SettingsError(f"Options are set for {', '.join(unknown)}, which is not installed.")
    return Catalogue(models=tuple(specs[name] for name in sorted(specs)))


def describe(path: str, options: Mapping[str, Options]) -> ModelSpec:
    """Import one recogniser and read what it says of itself; loads no weights."""
    recogniser_class = import_recogniser(path)
    name = _text(path, recogniser_class, "name", _NAME)
    own = dict(options.get(name, {}))
    recogniser = build_recogniser(path, own)
    for method in ("load", "recognise"):
        if not callable(getattr(recogniser, method, None)):
            raise SettingsError(f"Recogniser {path} has no method {method}().")
    score = getattr(recogniser, "default_min_score", None)
    if not isinstance(score, float) or not 0.05 <= score <= 0.99:
        raise SettingsError(f"Recogniser {path}: default_min_score must be a number from 0.05 to 0.99.")
    prompts = _words(path, recogniser, "prompts")
    if not prompts:
        raise SettingsError(f"Recogniser {path} has no prompts.")
    labels = _words(path, recogniser, "labels")
    return ModelSpec(
        name=name, prompts=prompts, labels=labels, default_min_score=score, path=path, options=own
    )


def import_recogniser(path: str) -> Any:
    """Import the class at `module:Class`; raises SettingsError that says what is wrong with the path."""
    module_name, colon, class_name = path.partition(":")
    if not (module_name and colon and class_name):
        raise SettingsError(f"Recogniser {path!r} must be written as module:Class.")
    try:
        return getattr(import_module(module_name), class_name)
    except ImportError as error:
        raise SettingsError(f"Recogniser {path} cannot be imported: {error}") from error
    except AttributeError as error:
        raise SettingsError(f"Recogniser {path}: module {module_name} has no {class_name}.") from error


def build_recogniser(path: str, options: Options) -> Any:
    """Build the recogniser at `module:Class`, not yet loaded; raises SettingsError when it refuses."""
    try:
        return import_recogniser(path)(options)
    except (TypeError, ValueError) as error:
        raise SettingsError(
            f"Recogniser {path} cannot be built with options {dict(options)}: {error}"
        ) from error


def _text(path: str, owner: Any, attribute: str, shape: re.Pattern[str]) -> str:
    text = getattr(owner, attribute, None)
    if not isinstance(text, str) or not shape.fullmatch(text):
        raise SettingsError(f"Recogniser {path}: {attribute} must match {shape.pattern}, not be {text!r}.")
    return text


def _words(path: str, recogniser: Any, attribute: str) -> tuple[str, ...]:
    words = getattr(recogniser, attribute, None)
    if not isinstance(words, tuple) or not all(isinstance(w, str) and _WORD.fullmatch(w) for w in words):
        raise SettingsError(f"Recogniser {path}: {attribute} must be a tuple of upper-case words.")
    return words
