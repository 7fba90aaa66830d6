"""The command `parsec`: parsing and printing only; the work is done elsewhere. One file per command.

Commands import what they need when they run, so that `parsec --help` and `parsec send` do not wait for a server's
libraries. Exit codes: 0 well, 1 done but not all of it, 2 wrong use or wrong settings, 3 gave up or could not start,
4 (audit alone) the ledger and the store differ, 130 interrupted, 141 the pipe was closed.
"""

import click

from parsec import __version__
from parsec.cli.audit import audit
from parsec.cli.bench import bench
from parsec.cli.check_config import check_config
from parsec.cli.deadletters import deadletters
from parsec.cli.exit_handling import Quiet
from parsec.cli.export import export
from parsec.cli.fields import fields
from parsec.cli.histogram import histogram
from parsec.cli.keys import keys
from parsec.cli.log import log
from parsec.cli.query import query
from parsec.cli.reference import reference
from parsec.cli.send import send
from parsec.cli.serve import serve
from parsec.cli.tail import tail
from parsec.cli.version import version

__all__ = ("main",)


@click.group(cls=Quiet, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="parsec", message="%(prog)s %(version)s")
def main() -> None:
    """Takes log events over HTTP, answers when they are safe, finds them seconds later."""


for _command in (
    serve,
    send,
    query,
    tail,
    histogram,
    fields,
    export,
    deadletters,
    audit,
    bench,
    keys,
    log,
    check_config,
    version,
    reference,
):
    main.add_command(_command)
