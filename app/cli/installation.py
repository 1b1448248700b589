"""Which installation a command is about: the one of the environment, or one of `muster up`."""

from __future__ import annotations

from pathlib import Path

import click

from app.cli.embedded.data_dir import DEFAULT_DATA_DIR, DataDir
from core.settings import Settings, load_settings

data_dir_option = click.option(
    "--data-dir",
    metavar="FOLDER",
    help="The folder of a `muster up`. By default .muster when there is one and neither "
    "MUSTER_DATABASE_URL nor MUSTER_REDIS_URL is set.",
)


def installed_settings(data_dir: str | None) -> Settings:
    """The settings of the installation meant; raises SettingsError."""
    given = load_settings()
    folder = Path(data_dir or DEFAULT_DATA_DIR)
    names_another = bool({"database", "redis"} & given.model_fields_set)
    if data_dir is None and (names_another or not (folder / "muster.db").exists()):
        return given
    return load_settings(**DataDir.existing(folder).overrides())
