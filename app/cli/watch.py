"""What `muster submit` shows: a progress bar while the task runs, then a table of what was counted."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import urljoin

from muster_client import Client, Recognition, Task
from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
)
from rich.table import Table

_COLOURS = {"completed": "green", "failed": "red", "cancelled": "yellow", "expired": "yellow"}


def watch(muster: Client, task: Task, *, is_quiet: bool = False) -> Task:
    """Wait until the task has ended, with a progress bar on stderr."""
    if is_quiet:
        return muster.wait(task.id)
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("pictures"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        bar = progress.add_task(describe(task), total=task.images.total)
        return muster.wait(
            task.id,
            on_change=lambda seen: progress.update(
                bar, completed=seen.images.ended, description=describe(seen)
            ),
        )


def describe(task: Task) -> str:
    """Where a task stands, in a few words."""
    if task.next_attempt_at is not None and task.status == "pending":
        return "trying again soon"
    if task.queue is not None and task.queue.position is not None:
        eta = f", about {task.queue.eta_seconds:.0f} s" if task.queue.eta_seconds else ""
        return f"waiting, number {task.queue.position}{eta}"
    if task.queue is not None and task.queue.limited_by:
        return f"waiting ({task.queue.limited_by})"
    return task.status.replace("_", " ")


def show_accepted(task: Task, url: str) -> None:
    """Say that the task is stored and where to look."""
    console = Console(highlight=False, soft_wrap=True)
    console.print(f"Accepted: task [bold]{task.id}[/], {describe(task)}")
    console.print(f"Look:     {url}/v1/tasks/{task.id}")


def show_result(task: Task, names: Sequence[str], url: str) -> None:
    """Print one row for each picture, and the sum."""
    console = Console(highlight=False)
    table = Table(title=f"Task {task.id}", title_justify="left")
    table.add_column("picture", overflow="fold")
    table.add_column("status")
    table.add_column("counts")
    table.add_column("total", justify="right")
    for name, found in zip(names, task.recognitions, strict=False):
        total = "" if found.total is None else str(found.total)
        table.add_row(escape(name), _coloured(found.status), escape(_counts(found)), total)
    console.print(table)
    console.print(f"{_coloured(task.status)}  counted in all: [bold]{task.task_num}[/]")
    if task.error is not None:
        console.print(f"[red]{escape(task.error.code)}[/]: {escape(task.error.message)}")
    for found in task.recognitions:
        if found.recognition_url:
            # Printed whole, so that terminals let one click on it.
            link = urljoin(f"{url}/", found.recognition_url)
            console.print(f"{escape(found.camera_id)}: {link}", soft_wrap=True)


def _counts(found: Recognition) -> str:
    """What was counted, and per area when there are several; or why nothing was."""
    if found.error is not None:
        return f"{found.error.code}: {found.error.message}"
    counted = _listed(found.counts or {}) or "-"
    if len(found.areas) < 2:
        return counted
    return "\n".join([counted, *(f"area {area.index}: {_listed(area.counts)}" for area in found.areas)])


def _listed(counts: dict[str, int]) -> str:
    return ", ".join(f"{number} {label}" for label, number in counts.items())


def _coloured(status: str) -> str:
    return f"[{_COLOURS.get(status, 'cyan')}]{status}[/]"
