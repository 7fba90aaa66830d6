"""`parsec check-config`: what `parsec serve` would run with, and why."""

from pathlib import Path
from typing import Any

import click
import msgspec

from parsec.cli.flags import load_or_exit, setting_flags
from parsec.cli.terminal import is_terminal, print_table
from parsec.core.units import show_quantity
from parsec.loading import Loaded
from parsec.settings import Setting, catalogue


@click.command("check-config")
@setting_flags
def check_config(config: Path | None, **flags: str | None) -> None:
    """Show every setting, its value and where it came from.

    Takes the flags of `parsec serve`. A table on a terminal, JSON in a pipe. Exit code 2 lists all that is wrong.
    """
    rows = _rows(load_or_exit(config, flags))
    if is_terminal():
        _print_table(rows)
    else:
        click.echo(msgspec.json.format(msgspec.json.encode(rows), indent=2))


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


def _print_table(rows: list[dict[str, Any]]) -> None:
    print_table(
        dict.fromkeys(("setting", "value", "from"), "long"),
        (
            (row["name"], *((row[name], "" if row["source"] == "default" else "bold") for name in ("shown", "source")))
            for row in rows
        ),
    )
