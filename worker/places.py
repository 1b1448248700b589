"""Places for child processes, and what fills them again.

A child that takes too long, dies, or has done its share of pictures is killed. Its place gets the
spare child, which is ready already, and the next spare is started in the background.
"""

from __future__ import annotations

import asyncio

from core.catalogue import ModelSpec
from core.errors import RecogniserCrashed
from worker.children import Child, ComputeSettings, start_child


class Place:
    """Room for one child, refilled in the background; opened and closed by Compute."""

    def __init__(
        self, settings: ComputeSettings, models: tuple[ModelSpec, ...], spare: Place | None = None
    ) -> None:
        self._settings = settings
        self._models = models
        self._spare = spare
        self._group: asyncio.TaskGroup | None = None
        self._filling: asyncio.Task[Child | RecogniserCrashed] | None = None
        self._leaving: list[Child] = []

    def open(self, group: asyncio.TaskGroup) -> None:
        """Start the first child; `group` runs the starts."""
        self._group = group
        self._fill()

    def close(self) -> None:
        """Kill the child and start no other."""
        self._group = None
        if self._filling is not None:
            present = _result(self._filling)
            if isinstance(present, Child):
                self._dismiss(present)
            self._filling.cancel()

    async def gone(self) -> None:
        """Wait until every child that was killed has been collected."""
        for child in tuple(self._leaving):
            await child.gone()

    async def child(self) -> Child:
        """The living child of this place, once it is ready; raises RecogniserCrashed when none starts."""
        if self._filling is not None:
            present = _result(self._filling)
            if isinstance(present, Child) and present.is_alive:
                return present
            if isinstance(present, Child):
                self._dismiss(present)
            if present is not None:
                self._fill()
        if self._filling is None or self._group is None:
            raise RecogniserCrashed("The recognisers are being shut down.")
        # Shielded: a caller that is cancelled must not stop a start that the next one needs.
        filled = await asyncio.shield(self._filling)
        if isinstance(filled, RecogniserCrashed):
            raise filled
        return filled

    def take(self) -> Child | None:
        """Give the child away if it is ready, and start another; None when there is none to give."""
        present = None if self._filling is None else _result(self._filling)
        if present is None:
            return None
        self._fill()
        if isinstance(present, Child) and present.is_alive:
            return present
        return None

    def done(self, child: Child, fit: bool) -> None:
        """Take a child back after a job; replace it when it is not fit or has done its share."""
        if not fit or child.jobs >= self._settings.recycle_after:
            self._dismiss(child)
            self._fill()

    def _dismiss(self, child: Child) -> None:
        child.kill()
        self._leaving.append(child)

    def _fill(self) -> None:
        if self._group is not None:
            self._filling = self._group.create_task(self._start())

    async def _start(self) -> Child | RecogniserCrashed:
        """Take the spare child or start one; a failure to start is kept for whoever asks."""
        await self.gone()
        self._leaving.clear()
        ready = None if self._spare is None else self._spare.take()
        if ready is not None:
            return ready
        try:
            return await start_child(self._settings, self._models)
        except RecogniserCrashed as error:
            return error


def _result(
    task: asyncio.Task[Child | RecogniserCrashed],
) -> Child | RecogniserCrashed | None:
    """What a start came to; None while it is under way or was cancelled."""
    return task.result() if task.done() and not task.cancelled() else None
