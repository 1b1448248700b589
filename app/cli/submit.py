"""`muster submit`."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import click
from muster_client import (
    Client,
    MusterClientError,
    NewCamera,
    NewTask,
    RequestRefused,
    ServiceUnreachable,
    Task,
)

from app.cli.embedded.data_dir import DEFAULT_DATA_DIR
from app.cli.example import ExampleCommand
from app.cli.exits import FAILED, INTERRUPTED, MISUSED, UNREACHABLE
from app.cli.watch import show_accepted, show_result, watch

_LATER = ("http://", "https://", "upload:")
Polygon = list[tuple[float, float]]


def _polygon(_ctx: click.Context, _option: click.Parameter, given: tuple[str, ...]) -> list[Polygon]:
    """Read areas such as '0,0 1024,0 1024,768'."""
    return [_points(text) for text in given]


def _points(text: str) -> Polygon:
    try:
        points = [(float(x), float(y)) for x, y in (pair.split(",") for pair in text.split())]
    except ValueError:
        points = []
    if len(points) < 3:
        raise click.BadParameter(f"{text!r} is not an area; write at least three points: '0,0 640,0 640,480'")
    return points


@click.command(
    "submit",
    cls=ExampleCommand,
    examples=(
        "muster submit gate.jpg --prompt COW --watch",
        "muster submit gate.jpg --prompt SHEEP --area '0,300 640,300 640,480 0,480' --watch",
        "muster submit https://cams.example/gate-3.jpg --prompt ALL --json --watch | jq .task_num",
    ),
)
@click.argument("pictures", nargs=-1, required=True, metavar="PHOTO_OR_URL...")
@click.option("--prompt", required=True, help="What to count: COW, SHEEP, ALL …; see `muster models`.")
@click.option(
    "--area",
    "areas",
    multiple=True,
    callback=_polygon,
    metavar="'X,Y X,Y X,Y'",
    help="Count only what stands in this polygon, in pixels of the picture. May be repeated.",
)
@click.option("--min-score", type=click.FloatRange(0.05, 0.99), help="Least score that counts.")
@click.option("--model", help="Another model than the timetable's.")
@click.option("--callback-url", help="Where the result is to be sent.")
@click.option("--system", "system_code", default="terminal", show_default=True, help="Whose task this is.")
@click.option("--watch", "is_watching", is_flag=True, help="Wait, show the progress, then the counts.")
@click.option("--json", "as_json", is_flag=True, help="Print the task as JSON.")
@click.option("--url", envvar="MUSTER_URL", help="The service; default: the `muster up` of this folder.")
@click.option("--api-key", envvar="MUSTER_API_KEY", help="Needed where authentication is on.")
def command(
    pictures: tuple[str, ...],
    prompt: str,
    areas: list[Polygon],
    min_score: float | None,
    model: str | None,
    callback_url: str | None,
    system_code: str,
    is_watching: bool,
    as_json: bool,
    url: str | None,
    api_key: str | None,
) -> None:
    """Submit pictures and, if wished, watch them being counted.

    Local files are uploaded first. Exit status: 0 completed (or accepted, without --watch), 1 failed,
    2 wrong usage or refused, 3 no service there.
    """
    _refuse_missing(pictures)

    def order() -> int:
        with Client(url or _default_url(), api_key) as muster:
            task = NewTask(
                business_id=f"terminal-{datetime.now().astimezone():%Y%m%d-%H%M%S}",
                system_code=system_code,
                prompt=prompt,
                callback_url=callback_url,
                model=model,
                min_score=min_score,
                cameras=[_camera(muster, picture, areas) for picture in pictures],
            )
            return _report(muster, muster.submit(task), pictures, is_watching=is_watching, as_json=as_json)

    sys.exit(_status_of(order))


def _status_of(order: Callable[[], int]) -> int:
    """Do it, say what went wrong, and answer the exit status."""
    try:
        return order()
    except ServiceUnreachable as error:
        click.echo(f"{error}\nIs it running? Start it with `muster up`, or name it with --url.", err=True)
    except RequestRefused as error:
        click.echo(f"Refused: {error}", err=True)
        return MISUSED if error.status < 500 else UNREACHABLE
    except MusterClientError as error:
        click.echo(str(error), err=True)
    return UNREACHABLE


def _report(
    muster: Client, accepted: Task, pictures: tuple[str, ...], *, is_watching: bool, as_json: bool
) -> int:
    """Show the task, now or when it has ended; answers the exit status."""
    task = accepted
    if is_watching:
        try:
            task = watch(muster, accepted, is_quiet=as_json)
        except KeyboardInterrupt:
            click.echo(f"Not waiting any longer; task {accepted.id} goes on.", err=True)
            return INTERRUPTED
    if as_json:
        click.echo(json.dumps(task.model_dump(mode="json"), indent=2, ensure_ascii=False))
    elif is_watching:
        show_result(task, pictures, muster.url)
    else:
        show_accepted(task, muster.url)
    return FAILED if is_watching and task.status != "completed" else 0


def _refuse_missing(pictures: tuple[str, ...]) -> None:
    """Say at once which files are not there."""
    missing = [each for each in pictures if not each.startswith(_LATER) and not Path(each).is_file()]
    if missing:
        raise click.UsageError(f"neither a file nor a url: {', '.join(missing)}")


def _camera(muster: Client, picture: str, areas: list[Polygon]) -> NewCamera:
    if picture.startswith(_LATER):
        name = picture.rstrip("/").rpartition("/")[2].partition("?")[0]
        return NewCamera(camera_id=name[:64] or "picture", image_url=picture, monitor_areas=areas)
    path = Path(picture)
    return NewCamera(camera_id=path.name[:64], image_url=muster.upload(path).url, monitor_areas=areas)


def _default_url() -> str:
    """The service of this folder when one runs, else where one usually listens."""
    try:
        return str(json.loads((Path(DEFAULT_DATA_DIR) / "ready.json").read_text())["url"])
    except (OSError, ValueError, KeyError, TypeError):
        return "http://127.0.0.1:8000"
