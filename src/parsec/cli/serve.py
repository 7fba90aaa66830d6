"""`parsec serve` runs a Parsec, `parsec check-config` shows the settings that it would run with.

In: settings as flags, environment and file. Out: a running Parsec, or a table. Errors: exit 2 with all wrong settings.
Next: parsec.wiring.serve.
"""

import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
import msgspec

from parsec.cli.setting_flags import SettingsCommand, load_or_exit, setting_flags
from parsec.cli.terminal import Cell, is_terminal, print_table
from parsec.core.units import show_quantity
from parsec.loading import Loaded
from parsec.settings import Setting, catalogue


@click.command(cls=SettingsCommand)
@setting_flags
def serve(config: Path | None, **flags: str | None) -> None:
    """Run Parsec until SIGTERM or SIGINT.

    Each setting may be a flag, an environment variable (in brackets) or a line of the --config file, in this order of
    precedence. Write sizes as 64MiB, times as 30s, 10m, 7d.
    """
    loaded = load_or_exit(config, flags)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # until the service handles it: a reload must not end a start
    # Late: the server's libraries take longer to import than every other command takes to run.
    from parsec.wiring.serve import serve as run

    sys.exit(run(loaded))


@click.command("check-config", cls=SettingsCommand)
@setting_flags
def check_config(config: Path | None, **flags: str | None) -> None:
    """Show every setting, its value and its source.

    Takes the flags of `parsec serve`. Prints a table on a terminal, JSON in a pipe. Exit code 2: settings are wrong;
    all of them are listed.
    """
    rows = _rows(load_or_exit(config, flags))
    if not is_terminal():
        click.echo(msgspec.json.format(msgspec.json.encode(rows), indent=2))
        return
    cells: list[Sequence[Cell]] = []
    for row in rows:
        style = "" if row["source"] == "default" else "bold"
        cells.append((row["name"], (row["shown"], style), (row["source"], style)))
    print_table(dict.fromkeys(("setting", "value", "from"), "long"), cells)


def _rows(loaded: Loaded) -> list[dict[str, Any]]:
    rows = [
        _row(setting.env, setting, getattr(loaded.settings, setting.name), loaded.sources[setting.name])
        for setting in catalogue()
    ]
    for tenant, own in loaded.tenants.items():
        rows += [
            _row(f"tenants.{tenant} {setting.env}", setting, getattr(own, setting.name), f"file {loaded.file}")
            for setting in catalogue()
            if getattr(own, setting.name) != getattr(loaded.settings, setting.name)
        ]
    return rows


def _row(name: str, setting: Setting, value: object, source: str) -> dict[str, Any]:
    if setting.spec.secret and value:
        value = "(hidden)"
    return {"name": name, "value": value, "shown": show_quantity(value, setting.spec.unit), "source": source}
