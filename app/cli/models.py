"""`muster models`."""

from __future__ import annotations

import json

import click
from rich.console import Console
from rich.table import Table

from app.cli.example import ExampleCommand
from core.catalogue import ModelSpec, Options, load_catalogue
from core.settings import Settings, load_settings


@click.command("models", cls=ExampleCommand, examples=("muster models", "muster models --json"))
@click.option("--json", "as_json", is_flag=True, help="As JSON, like GET /v1/models.")
def command(as_json: bool) -> None:
    """List the models and what each can be asked for.

    These are the recognisers installed here, with the times of day they are chosen for.
    """
    settings = load_settings()
    models = load_catalogue(settings.recognise.recognisers, _options(settings)).models
    if as_json:
        click.echo(json.dumps({"items": [_as_item(model, settings) for model in models]}, indent=2))
        return
    table = Table()
    for heading in ("model", "prompts", "default for", "least score"):
        table.add_column(heading, overflow="fold")
    for model in models:
        shifts = ", ".join(_default_for(model, settings))
        table.add_row(model.name, ", ".join(model.prompts), shifts, f"{model.default_min_score:g}")
    Console().print(table)


def _options(settings: Settings) -> dict[str, Options]:
    path = settings.recognise.model_path
    return {} if path is None else {"ssdlite": {"model_path": str(path)}}


def _as_item(model: ModelSpec, settings: Settings) -> dict[str, object]:
    return {
        "name": model.name,
        "prompts": list(model.prompts),
        "labels": list(model.labels),
        "default_for": _default_for(model, settings),
    }


def _default_for(model: ModelSpec, settings: Settings) -> list[str]:
    return [shift.name for shift in settings.routing if shift.model == model.name]
