"""`parsec tail`: follow new events. In: an expression. Out: events, and gaps on standard error. Next: parsec.client."""

import click
import msgspec

from parsec.cli.client_flags import open_client, server_flags, tenant_flag
from parsec.cli.event_output import Output, output_flags, printer, split_fields
from parsec.cli.terminal import counted, visible
from parsec.client import Gap, RetryPolicy

SILENCE_S = 30.0
"""The server sends something every ten seconds; a connection that is silent for longer is replaced."""


@click.command()
@click.argument("expression", required=False)
@server_flags
@tenant_flag("Tenant to follow; the default is the key's.")
@output_flags
def tail(expression: str | None, url: str, tenant: str | None, output: Output | None, fields: str | None) -> None:
    """Follow events as they are stored, from now on.

    EXPRESSION selects events, as for `parsec query`. A broken connection is replaced. Gaps are reported on standard
    error. End it with Ctrl-C.

    Exit code: 1 refused, 3 no answer at the start, 130 interrupted.
    """
    to = printer(output, split_fields(fields))
    with open_client(url, SILENCE_S, expression, RetryPolicy(on_wait=_report_wait)) as client:
        for found in client.tail(tenant, q=expression):
            if isinstance(found, msgspec.Raw):
                to.show([found])
            else:
                click.echo(f"parsec: {_describe(found)}", err=True)


def _report_wait(wait_s: float, reason: str) -> None:
    click.echo(f"parsec: connecting again in {wait_s:.1f} s: {visible(reason)}", err=True)


def _describe(gap: Gap) -> str:
    if gap.away:
        return "connected again; events of the time between are not shown, find them with `parsec query`"
    parts = []
    if gap.skipped:
        parts.append(f"{counted(gap.skipped, 'matching event')} left out here, because they came too fast to print")
    if gap.unchecked:
        parts.append(f"{counted(gap.unchecked, 'event')} came too fast to check against the expression")
    return "; ".join(parts) or "events may be missing here"
