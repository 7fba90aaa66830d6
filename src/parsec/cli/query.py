"""`parsec query`: search events, newest first. In: an expression and a time range. Out: events. Next: parsec.client."""

from typing import Any

import click

from parsec.api import parameters
from parsec.cli.client_flags import explain_if_empty, open_client, searched_range, server_flags, warn_if_incomplete
from parsec.cli.event_output import Output, output_flag, printer
from parsec.cli.query_flags import query_flags
from parsec.cli.terminal import counted, is_terminal, visible


@click.command()
@query_flags(parameters.EVENTS, pages=True)
@output_flag
@click.option("--timeout", type=click.FloatRange(min=0.1), default=60.0, show_default=True, help="Seconds per page.")
@server_flags
def query(url: str, output: Output | None, timeout: float, **asked: Any) -> None:
    """Find events, newest first.

    EXPRESSION selects them, as 'severity:error source:api-* "timed out"'; see docs/query-language.md. Put -- before an
    EXPRESSION that begins with a minus. NO_COLOR turns colours off.

    Exit code: 0 answered (also without events), 1 refused, 3 no answer.
    """
    show = printer(output, asked["fields"])
    first, page, printed = None, None, 0
    reported: set[str] = set()
    with open_client(url, timeout, asked["q"]) as client:
        for page in client.pages(**asked):
            show(page.events)
            first = first or page
            printed += len(page.events)
            warn_if_incomplete(page, reported)
    if page is None or first is None:
        return
    explain_if_empty(first)
    if is_terminal() and printed:
        more = "; there are more, see --limit" if page.cursor else ""
        until = f"complete until {visible(first.complete_until)}"
        click.echo(f"{counted(printed, 'event')} {searched_range(first)}; {until}{more}", err=True)
    elif page.cursor:
        click.echo("parsec: there are more events, see --limit", err=True)
