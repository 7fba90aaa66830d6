"""The command `parsec`: one file a command, for parsing and printing only; other packages do the work.

Commands import what they need when they run, so that `parsec --help` and `parsec send` do not wait for a server's
libraries. Exit codes: 0 success, 1 refused or incomplete, 2 wrong use or wrong settings, 3 no answer or no start,
4 (audit only) the ledger and the store differ, 130 interrupted, 141 broken pipe. Next: parsec.cli.terminal.
"""

import platform

import click

from parsec import __version__
from parsec.cli.audit import audit
from parsec.cli.bench import bench
from parsec.cli.deadletters import deadletters
from parsec.cli.export import export
from parsec.cli.fields import fields
from parsec.cli.histogram import histogram
from parsec.cli.keys import keys
from parsec.cli.log import log
from parsec.cli.query import query
from parsec.cli.reference import reference
from parsec.cli.repair import repair
from parsec.cli.send import send
from parsec.cli.serve import check_config, serve
from parsec.cli.tail import tail
from parsec.cli.terminal import QuietGroup

__all__ = ("main",)


@click.group(cls=QuietGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="parsec", message="%(prog)s %(version)s")
def main() -> None:
    """Receive log events over HTTP, keep them safe and search them seconds later."""


@main.command()
def version() -> None:
    """Print the version."""
    click.echo(f"parsec {__version__} (Python {platform.python_version()}, {platform.system()} {platform.machine()})")


for _command in (
    *(serve, send, query, tail, histogram, fields, export, deadletters),
    *(audit, repair, bench, keys, log, check_config, reference),
):
    main.add_command(_command)
