"""`parsec tail`: follow new events. In: an expression. Out: events, and gaps on standard error. Next: parsec.client."""

from typing import Any

import click
import msgspec

from parsec.api import parameters
from parsec.cli.client_flags import open_client, server_flags
from parsec.cli.event_output import Output, output_flag, printer
from parsec.cli.query_flags import query_flags, split_names
from parsec.cli.terminal import counted, visible
from parsec.client import Gap, RetryPolicy

SILENCE_S = 30.0
"""The server sends something every ten seconds; a connection that is silent for longer is replaced."""


@click.command()
@query_flags(parameters.TAIL)
@output_flag
@click.option("--fields", help="Fields to print, such as id,message,metadata.user.id.")
@server_flags
def tail(url: str, output: Output | None, fields: str | None, **asked: Any) -> None:
    """Follow events as they are stored, from now on.

    EXPRESSION selects events, as for `parsec query`. A broken connection is replaced. Gaps are reported on standard
    error. End it with Ctrl-C.

    Exit code: 1 refused, 3 no answer at the start, 130 interrupted.
    """
    show = printer(output, split_names(fields))
    with open_client(url, SILENCE_S, asked["q"], RetryPolicy(on_wait=_report_wait)) as client:
        for found in client.tail(**asked):
            if isinstance(found, msgspec.Raw):
                show([found])
            else:
                click.echo(f"parsec: {_describe(found)}", err=True)


def _report_wait(wait_s: float, reason: str) -> None:
    click.echo(f"parsec: connecting again in {wait_s:.1f} s: {visible(reason)}", err=True)


def _describe(gap: Gap) -> str:
    if gap.away:
        return "connected again; events stored in the meantime are not shown, find them with `parsec query`"
    parts = []
    if gap.skipped:
        parts.append(f"{counted(gap.skipped, 'matching event')} left out here, because they arrived too fast to print")
    if gap.unchecked:
        parts.append(f"{counted(gap.unchecked, 'event')} arrived too fast to check against the expression")
    return "; ".join(parts) or "events may be missing here"
