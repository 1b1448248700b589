"""What the demonstration tells: three tasks, from submission to the verified callback."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from muster_client import Client, NewCamera, NewTask, Recognition, SignatureInvalid, Task, verify
from rich.console import Console
from rich.table import Table

from demo.surroundings import Callback, DemoFailed, Neighbours, Service

OUT = Path(__file__).parent / "out"
_TASK_SECONDS = 60.0
_CALLBACK_SECONDS = 20.0

_HEIGHT, _WIDTH = 768, 1024
_FAR = [(0, 200), (_WIDTH, 200), (_WIDTH, 400), (0, 400)]
_NEAR = [(0, 400), (_WIDTH, 400), (_WIDTH, _HEIGHT), (0, _HEIGHT)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Chapter:
    """One task and what must come of it."""

    prompt: str
    photos: tuple[str, ...]
    counted: int
    areas: tuple[dict[str, int], ...] = ()


CHAPTERS = (
    Chapter(prompt="COW", photos=("cows.webp",), counted=3, areas=({"COW": 2}, {"COW": 1})),
    Chapter(prompt="SHEEP", photos=("sheep.webp",), counted=1),
    Chapter(prompt="ALL", photos=("cows.webp", "sheep.webp"), counted=4),
)


@dataclass
class Story:
    """The course of the demonstration."""

    console: Console
    service: Service
    around: Neighbours
    began: float = field(default_factory=time.monotonic)
    positions: set[int] = field(default_factory=set)

    def tell(self) -> None:
        """Submit, watch, count, save, verify; raises DemoFailed at the first thing that is wrong."""
        with Client(self.service.url) as muster:
            self.began = time.monotonic()
            accepted = [self._submit(muster, chapter) for chapter in CHAPTERS]
            with ThreadPoolExecutor(len(CHAPTERS)) as threads:
                tasks = list(threads.map(self._watch, CHAPTERS, accepted))
            if not self.positions:
                raise DemoFailed("No task was seen waiting in the queue.")
            self._show(tasks)
            self._save(muster, tasks)
        self._verify(self.around.wait_for(len(tasks), _CALLBACK_SECONDS), tasks)

    def _submit(self, muster: Client, chapter: Chapter) -> Task:
        areas = [[*_FAR], [*_NEAR]] if chapter.areas else []
        task = NewTask(
            business_id=f"demo-{chapter.prompt.lower()}",
            system_code="demo",
            prompt=chapter.prompt,
            callback_url=f"{self.around.url}/callback",
            cameras=[
                NewCamera(
                    camera_id=Path(photo).stem,
                    image_url=f"{self.around.url}/{photo}",
                    camera_size=(_HEIGHT, _WIDTH) if areas else None,
                    monitor_areas=areas,
                )
                for photo in chapter.photos
            ],
        )
        accepted = muster.submit(task)
        self._say(chapter, f"accepted{self._place(accepted)}")
        return accepted

    def _watch(self, chapter: Chapter, task: Task) -> Task:
        """Follow one task and tell each change of it."""
        last = ""

        def see(seen: Task) -> None:
            nonlocal last
            now = f"{seen.status.replace('_', ' ')}{self._place(seen)}"
            if seen.status == "in_progress" or seen.is_final:
                now += f", {seen.images.ended} of {seen.images.total} pictures"
            if now != last:
                self._say(chapter, now)
                last = now

        with Client(self.service.url) as muster:
            return muster.wait(task.id, timeout_seconds=_TASK_SECONDS, on_change=see)

    def _place(self, task: Task) -> str:
        if task.queue is None or task.queue.position is None:
            return ""
        self.positions.add(task.queue.position)
        return f", position {task.queue.position} in the queue"

    def _say(self, chapter: Chapter, what: str) -> None:
        at = time.monotonic() - self.began
        self.console.print(f"  [dim]{at:6.2f} s[/]  [bold]{chapter.prompt:<5}[/]  {what}")

    def _show(self, tasks: list[Task]) -> None:
        table = Table(title="\nCounted", title_justify="left")
        for heading in ("task", "photo", "counts", "in its areas"):
            table.add_column(heading)
        for heading in ("fetch", "decode", "recognise"):
            table.add_column(f"{heading} ms", justify="right")
        for chapter, task in zip(CHAPTERS, tasks, strict=True):
            for found in task.recognitions:
                table.add_row(chapter.prompt, found.camera_id, *_counted(found), *_timings(found))
            _expect(chapter, task)
        self.console.print(table)
        cows, sheep = tasks[0].task_num, tasks[1].task_num
        self.console.print(f"[bold green]{cows} cows and {sheep} sheep[/], as they should be.")

    def _save(self, muster: Client, tasks: list[Task]) -> None:
        """Keep the annotated pictures of the first two tasks."""
        OUT.mkdir(exist_ok=True)
        self.console.print("\nAnnotated pictures:")
        for task in tasks[:2]:
            for found in task.recognitions:
                jpeg = muster.download(found)
                if not jpeg.startswith(b"\xff\xd8\xff"):
                    raise DemoFailed(f"The annotated picture of {found.camera_id} is not a JPEG.")
                path = OUT / f"{found.camera_id}.jpg"
                path.write_bytes(jpeg)
                self.console.print(f"  {path}", soft_wrap=True)

    def _verify(self, callbacks: list[Callback], tasks: list[Task]) -> None:
        """Believe the callbacks only because of their signatures."""
        self.console.print("\nCallbacks:")
        expected = {task.id: task for task in tasks}
        for callback in callbacks:
            event = verify(callback.headers, callback.body, self.service.webhook_secret)
            task = expected.pop(event["data"]["id"])
            if (event["type"], event["data"]["task_num"]) != ("task.completed", task.task_num):
                raise DemoFailed(f"The callback of task {task.id} tells something else than the task.")
            size = f"{len(callback.body)} bytes"
            self.console.print(
                f"  {event['type']}  {task.business_id:<10}  {size}, [green]signature verified[/]"
            )
        if expected:
            raise DemoFailed(f"No callback came for {', '.join(expected)}.")
        _expect_refusal(callbacks[0], self.service.webhook_secret)
        self.console.print("  and one with a byte changed: [green]refused[/]")


def _expect(chapter: Chapter, task: Task) -> None:
    """Raise DemoFailed unless the task ended as it should."""
    if task.status != "completed":
        reason = task.error or next((each.error for each in task.recognitions if each.error), None)
        raise DemoFailed(f"Task {chapter.prompt} is {task.status}: {reason}")
    if task.task_num != chapter.counted:
        raise DemoFailed(f"Task {chapter.prompt}: {task.task_num} counted, {chapter.counted} expected.")
    areas = tuple(area.counts for found in task.recognitions for area in found.areas)
    if areas != chapter.areas:
        raise DemoFailed(f"Task {chapter.prompt}: {areas} counted in the areas, {chapter.areas} expected.")


def _expect_refusal(callback: Callback, secret: str) -> None:
    changed = callback.body.replace(b"completed", b"Completed", 1)
    try:
        verify(callback.headers, changed, secret)
    except SignatureInvalid:
        return
    raise DemoFailed("A changed callback passed for a true one.")


def _counted(found: Recognition) -> tuple[str, str]:
    counts = ", ".join(f"{number} {label}" for label, number in (found.counts or {}).items())
    areas = ", ".join(str(sum(area.counts.values())) for area in found.areas)
    return counts, areas


def _timings(found: Recognition) -> tuple[str, ...]:
    taken = found.timings_ms or {}
    return tuple(f"{taken.get(step, 0):.0f}" for step in ("fetch", "decode", "recognise"))
