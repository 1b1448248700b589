"""The recognisers of one child process: built and loaded once each, kept until the child ends."""

from __future__ import annotations

import json
from typing import cast

from core.catalogue import Catalogue, ModelSpec, Options, build_recogniser, load_catalogue
from worker.recognisers.base import Recogniser

__all__ = ["Catalogue", "LoadedRecognisers", "ModelSpec", "load_catalogue"]


class LoadedRecognisers:
    """A cache of loaded recognisers, by class path and options."""

    def __init__(self, threads: int) -> None:
        self._threads = threads
        self._loaded: dict[str, Recogniser] = {}

    def get(self, path: str, options: Options) -> Recogniser:
        """The recogniser at `module:Class`, loaded; whatever its `load` raises comes through."""
        key = json.dumps([path, dict(options)], sort_keys=True)
        if key not in self._loaded:
            recogniser = cast(Recogniser, build_recogniser(path, {"threads": self._threads, **options}))
            recogniser.load()
            self._loaded[key] = recogniser
        return self._loaded[key]
