"""A flag for every setting, made from the catalogue, and what came of them.

In: the command line. Out: Loaded settings. Errors: exit 2 with every bad setting on a line of its own.
"""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from parsec.core.errors import BadSettings
from parsec.core.units import show_quantity
from parsec.loading import Loaded, load
from parsec.settings import Setting, catalogue

BAD_SETTINGS = 2
_METAVARS = {"bytes": "SIZE", "seconds": "TIME", "milliseconds": "MS"}


def setting_flags(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds `--config` and one option per setting; the command gets texts under the settings' environment names."""
    for setting in reversed(catalogue()):
        command = _option(setting)(command)
    config = click.option(
        "--config",
        type=click.Path(dir_okay=False, path_type=Path),
        help="TOML file with settings under these flags' names. [PARSEC_CONFIG]",
    )
    return config(command)


def directory_flags(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds `--data-dir` and `--config`, for a command that works on the directory that `parsec serve` would use."""
    directory = click.option("--data-dir", metavar="DIR", help="Data directory. [PARSEC_DATA_DIR; ./data]")
    config = click.option("--config", type=click.Path(dir_okay=False, path_type=Path), help="As for `parsec serve`.")
    return directory(config(command))


def _option(setting: Setting) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    default = show_quantity(setting.default, setting.spec.unit)
    text = f"{setting.spec.help} [{setting.env}{f'; {default}' if default else ''}]"
    if setting.type is bool:
        # `--ingest-lenient` alone says yes; `--ingest-lenient=false` says no.
        return click.option(setting.flag, setting.env, is_flag=False, flag_value="true", metavar="[BOOL]", help=text)
    return click.option(setting.flag, setting.env, metavar=_METAVARS.get(setting.spec.unit, "VALUE"), help=text)


def load_or_exit(config: Path | None, flags: dict[str, str | None]) -> Loaded:
    """The settings; with exit code 2 and all faults when there are any."""
    try:
        return load({name: text for name, text in flags.items() if text is not None}, os.environ, config)
    except BadSettings as error:
        count = len(error.problems)
        click.echo(f"parsec: {count} setting{' is' if count == 1 else 's are'} wrong:", err=True)
        for problem in error.problems:
            click.echo(f"  {problem}", err=True)
        sys.exit(BAD_SETTINGS)
