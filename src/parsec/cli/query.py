"""`parsec query`: search events, newest first. In: an expression and a time range. Out: events. Next: parsec.client."""

from typing import Literal

import click

from parsec.cli.client_flags import open_client, scope_flags, warn_if_incomplete
from parsec.cli.event_output import Output, output_flags, printer, split_fields
from parsec.cli.terminal import counted, is_terminal, visible


@click.command()
@scope_flags
@output_flags
@click.option(
    "--order", type=click.Choice(["newest", "oldest"]), default="newest", show_default=True, help="Printed first."
)
@click.option("--limit", type=click.IntRange(min=1), default=100, show_default=True, help="Most events to print.")
@click.option("--timeout", type=click.FloatRange(min=0.1), default=60.0, show_default=True, help="Seconds per page.")
def query(
    expression: str | None,
    url: str,
    output: Output | None,
    fields: str | None,
    order: Literal["newest", "oldest"],
    limit: int,
    timeout: float,
    tenant: str | None,
    start: str | None,
    end: str | None,
) -> None:
    """Find events, newest first.

    EXPRESSION selects them, as 'severity:error source:api-* "timed out"'; see docs/query-language.md. Put -- before an
    EXPRESSION that begins with a minus. NO_COLOR turns colours off.

    Exit code: 0 answered (also without events), 1 refused, 3 no answer.
    """
    names = split_fields(fields)
    to = printer(output, names)
    first, page, printed = None, None, 0
    reported: set[str] = set()
    with open_client(url, timeout, expression) as client:
        for page in client.pages(tenant, q=expression, start=start, end=end, limit=limit, order=order, fields=names):
            to.show(page.events)
            first = first or page
            printed += len(page.events)
            warn_if_incomplete(page, reported)
    if page is None or first is None:
        return
    if is_terminal():
        more = "; there are more, see --limit" if page.cursor else ""
        click.echo(f"{counted(printed, 'event')}; complete until {visible(first.complete_until)}{more}", err=True)
    elif page.cursor:
        click.echo("parsec: there are more events, see --limit", err=True)
