"""`parsec serve`: settings in, a running Parsec out."""

import sys
from pathlib import Path

import click

from parsec.cli.flags import load_or_exit, setting_flags


@click.command()
@setting_flags
def serve(config: Path | None, **flags: str | None) -> None:
    """Run Parsec until SIGTERM or SIGINT.

    Each setting may be a flag, an environment variable (in brackets) or a line of the --config file; the first of
    these counts. Sizes are written as 64MiB, times as 30s, 10m, 7d.
    """
    loaded = load_or_exit(config, flags)
    # Late: the server's libraries take longer to import than every other command takes to run.
    from parsec.wiring.serve import serve as run

    sys.exit(run(loaded))
