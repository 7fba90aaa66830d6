"""A flag for every setting, made from the catalogue, and the settings that follow.

In: the command line. Out: Loaded settings. Errors: exit 2 with each wrong setting on a line of its own.
Next: parsec.loading.
"""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from parsec.cli.terminal import BAD_SETTINGS
from parsec.core.errors import BadSettings
from parsec.core.units import show_quantity
from parsec.loading import Loaded, load
from parsec.settings import FORMER_SETTINGS, Setting, catalogue, flag_of

_METAVARS = {"bytes": "SIZE", "seconds": "TIME", "milliseconds": "MS"}
_FILE = click.Path(dir_okay=False, path_type=Path)


class SettingsCommand(click.Command):
    """Suggests no former flags for an unknown one."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            from difflib import get_close_matches  # late: most commands never need it

            close = get_close_matches(error.option_name, [setting.flag for setting in catalogue()])
            raise click.NoSuchOption(error.option_name, possibilities=close, ctx=error.ctx) from None


def setting_flags(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds `--config` and one option per setting; the command gets texts under the settings' environment names."""
    for setting in reversed(catalogue()):
        command = _option(setting)(command)
    for env in FORMER_SETTINGS:  # hidden, for an error that says what became of it
        command = click.option(flag_of(env), env, is_flag=False, flag_value="true", hidden=True)(command)
    text = "TOML file with settings under these flags' names. [PARSEC_CONFIG]"
    return click.option("--config", type=_FILE, help=text)(command)


def directory_flags(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds `--data-dir` and `--config`, for a command that works on the directory of a `parsec serve`."""
    directory = click.option("--data-dir", metavar="DIR", help="Data directory. [PARSEC_DATA_DIR; ./data]")
    config = click.option("--config", type=_FILE, help="Settings file, as for `parsec serve`. [PARSEC_CONFIG]")
    return directory(config(command))


def _option(setting: Setting) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    default = show_quantity(setting.default, setting.spec.unit)
    text = f"{setting.spec.help} [{setting.env}{f'; {default}' if default else ''}]"
    if setting.type is bool:
        # `--ingest-lenient` alone means true; `--ingest-lenient=false` means false.
        return click.option(setting.flag, setting.env, is_flag=False, flag_value="true", metavar="[BOOL]", help=text)
    return click.option(setting.flag, setting.env, metavar=_METAVARS.get(setting.spec.unit, "VALUE"), help=text)


def load_or_exit(config: Path | None, flags: dict[str, str | None]) -> Loaded:
    """The settings; exits with code 2 and a list of all faults when there are any."""
    try:
        return load({name: text for name, text in flags.items() if text is not None}, os.environ, config)
    except BadSettings as error:
        count = len(error.problems)
        click.echo(f"parsec: {count} setting{' is' if count == 1 else 's are'} wrong:", err=True)
        for problem in error.problems:
            click.echo(f"  {problem}", err=True)
        sys.exit(BAD_SETTINGS)
