"""`parsec tail`: events as they are stored, from now on."""

import click
import msgspec

from parsec.cli.event_output import Output, chosen_fields, output_flags, printer
from parsec.cli.server import asking, server_flags, tenant_flag
from parsec.cli.terminal import visible
from parsec.client import Gap, RetryPolicy

SILENCE_S = 30.0
"""The server sends something every ten seconds; a connection that is silent for longer is replaced."""


@click.command()
@click.argument("expression", required=False)
@server_flags
@tenant_flag("Whose events.")
@output_flags
def tail(expression: str | None, url: str, tenant: str | None, output: Output | None, fields: str | None) -> None:
    """Follow events as they are stored, from now on; EXPRESSION says which, as for `parsec query`.

    A connection that breaks is replaced; what is or may be missing is told on standard error. Ctrl-C ends it.

    Exit code: 0 never, 1 the question was refused, 3 no answer at the start, 130 interrupted.
    """
    to = printer(output, chosen_fields(fields))
    with asking(url, SILENCE_S, expression, RetryPolicy(on_wait=_waits)) as client:
        for found in client.tail(tenant, q=expression):
            if isinstance(found, msgspec.Raw):
                to.show([found])
            else:
                click.echo(f"parsec: {_in_words(found)}", err=True)


def _waits(wait_s: float, reason: str) -> None:
    click.echo(f"parsec: connecting again in {wait_s:.1f} s: {visible(reason)}", err=True)


def _in_words(gap: Gap) -> str:
    if gap.away:
        return "connected again; events of the time between are not shown, `parsec query` finds them"
    parts = []
    if gap.skipped:
        parts.append(f"{gap.skipped:,} events are left out here, since they came faster than they were taken")
    if gap.unchecked:
        parts.append(f"{gap.unchecked:,} events came too fast to be compared with the expression")
    return "; ".join(parts) or "events may be left out here"
