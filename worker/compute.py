"""Runs picture jobs in child processes under hard limits; only findings come back.

A job never shares a child or a pipe with another, so one that hangs, crashes or is cancelled costs
its neighbours nothing. The children are worker/children.py, what fills their places again is
worker/places.py, what runs in one is worker/child.py.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from core.catalogue import ModelSpec
from core.errors import RecogniserCrashed, RecogniserTimeout, SettingsError
from worker.children import ANSWERS_NONSENSE, ComputeSettings
from worker.jobs import PictureJob, PictureOutcome, outcome_from
from worker.places import Place

__all__ = ["Compute", "ComputeSettings", "PictureJob", "PictureOutcome"]


class Compute:
    """Decodes, recognises and annotates pictures, as many at once as there are children."""

    def __init__(self, settings: ComputeSettings, models: Sequence[ModelSpec] = ()) -> None:
        """Prepare; `models` are loaded by every child before its first picture, others on first use."""
        self.spare = Place(settings, tuple(models)) if settings.keep_spare else None
        """A place whose child is ready to take over for one that was killed."""
        self._places = [Place(settings, tuple(models), self.spare) for _ in range(settings.children)]
        self._free: asyncio.Queue[Place] = asyncio.Queue()
        self._group = asyncio.TaskGroup()

    async def __aenter__(self) -> Self:
        await self._group.__aenter__()
        for place in self._places:
            place.open(self._group)
            self._free.put_nowait(place)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        places = self._places if self.spare is None else [*self._places, self.spare]
        for place in places:
            place.close()
        try:
            await self._group.__aexit__(kind, error, trace)
        finally:
            for place in places:
                await place.gone()

    async def ready(self) -> None:
        """Wait until every child has started, then start the spare; call it once.

        Raises:
            SettingsError: A model cannot be loaded.
            RecogniserCrashed: A child cannot be started.
        """
        for place in self._places:
            failed = (await place.child()).failed
            if failed:
                reasons = "; ".join(f"{name}: {reason}" for name, reason in failed.items())
                raise SettingsError(f"Models cannot be loaded: {reasons}")
        if self.spare is not None:
            self.spare.open(self._group)

    async def run(self, job: PictureJob, timeout_seconds: float) -> PictureOutcome:
        """Do a job in the next free child.

        Args:
            job: What to do.
            timeout_seconds: Time from the moment a child begins with it; waiting for one is free.

        Raises:
            RecogniserTimeout: It took longer; the child was killed.
            RecogniserCrashed: The child died, ran out of memory, or its recogniser failed.
            DecodeError: The picture is at fault, or an area lies outside it.
        """
        place = await self._free.get()
        try:
            return await _run_in(place, job, timeout_seconds)
        finally:
            self._free.put_nowait(place)


async def _run_in(place: Place, job: PictureJob, timeout_seconds: float) -> PictureOutcome:
    """Give a job to the place's child; a child that does not answer in full is killed."""
    child = await place.child()
    fit = False
    try:
        async with asyncio.timeout(timeout_seconds):
            header, blob = await child.ask(job, timeout_seconds)
        fit = not header.get("end")
        return outcome_from(header, blob)
    except TimeoutError:
        raise RecogniserTimeout(f"The recogniser did not finish in {timeout_seconds:g} s.") from None
    except ANSWERS_NONSENSE as error:
        raise RecogniserCrashed from error
    finally:
        place.done(child, fit)
