"""`parsec query`: a question over HTTP, events newest first."""

from typing import Literal

import click

from parsec.cli.event_output import Output, chosen_fields, output_flags, printer
from parsec.cli.server import asking, scope_flags, warn_of_gaps
from parsec.cli.terminal import is_terminal, visible


@click.command()
@scope_flags
@output_flags
@click.option("--order", type=click.Choice(["newest", "oldest"]), default="newest", show_default=True, help="First.")
@click.option("--limit", type=click.IntRange(min=1), default=100, show_default=True, help="Most events to print.")
@click.option("--timeout", type=click.FloatRange(min=0.1), default=60.0, show_default=True, help="Seconds for a page.")
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

    EXPRESSION says which, as 'severity:error source:api-* "timed out"'; docs/query-language.md has all of it. One that
    begins with a minus goes behind --.

    NO_COLOR turns colours off. Exit code: 0 answered (also with no events), 1 the question was refused, 3 no answer.
    """
    names = chosen_fields(fields)
    to = printer(output, names)
    first, page, printed = None, None, 0
    told: set[str] = set()
    with asking(url, timeout, expression) as client:
        for page in client.pages(tenant, q=expression, start=start, end=end, limit=limit, order=order, fields=names):
            to.show(page.events)
            first = first or page
            printed += len(page.events)
            warn_of_gaps(page, told)
    if page is None or first is None:
        return
    if is_terminal():
        until = f"; complete until {visible(first.complete_until)}" if first.complete_until else ""
        more = "; there are more, see --limit" if page.cursor else ""
        click.echo(f"{printed:,} event{'' if printed == 1 else 's'}{until}{more}", err=True)
    elif page.cursor:
        click.echo("parsec: there are more events, see --limit", err=True)
