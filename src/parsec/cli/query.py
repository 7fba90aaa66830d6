"""`parsec query`: a question over HTTP, events newest first."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import click
import msgspec

from parsec.cli.server import asking, scope_flags, warn_of_gaps
from parsec.cli.terminal import is_terminal, visible
from parsec.client import Page

if TYPE_CHECKING:
    from rich.table import Table

_COLOURS = {"trace": "dim", "debug": "dim", "info": "green", "warn": "yellow", "error": "red", "fatal": "bold red"}


class _Event(msgspec.Struct):
    """What of an event a table shows."""

    timestamp: str = ""
    severity: str = ""
    source: str = ""
    message: str = ""
    metadata: msgspec.Raw = msgspec.Raw(b"{}")


_EVENTS = msgspec.json.Decoder(_Event)


@click.command()
@scope_flags
@click.option("--limit", type=click.IntRange(min=1), default=100, show_default=True, help="Most events to print.")
@click.option("--timeout", type=click.FloatRange(min=0.1), default=60.0, show_default=True, help="Seconds for a page.")
def query(
    expression: str | None, url: str, tenant: str | None, start: str | None, end: str | None, limit: int, timeout: float
) -> None:
    """Find events, newest first.

    EXPRESSION says which, as 'severity:error source:api-* "timed out"'; docs/query-language.md has all of it. One that
    begins with a minus goes behind --.

    A table on a terminal, JSON lines in a pipe. NO_COLOR turns colours off. Exit code: 0 answered (also with no
    events), 1 the question was refused, 3 no answer.
    """
    with asking(url, timeout) as client:
        pages = client.pages(tenant, q=expression, start=start, end=end, limit=limit)
        last = print_table(pages) if is_terminal() else print_lines(pages)
    if last is not None:
        warn_of_gaps(last)


def print_lines(pages: Iterable[Page]) -> Page | None:
    """Each event as it came, on a line of its own; the last page."""
    page = None
    for page in pages:
        click.echo(b"".join(bytes(event) + b"\n" for event in page.events), nl=False)
    if page is not None and page.cursor:
        click.echo("parsec: there are more events, see --limit", err=True)
    return page


def print_table(pages: Iterable[Page]) -> Page | None:
    """A table per page, so that a long answer begins at once; the last page."""
    from rich.console import Console

    console = Console(highlight=False)
    page, printed = None, 0
    for page in pages:
        events = [_EVENTS.decode(event) for event in page.events]
        if events:
            console.print(_table(events, header=printed == 0))
        printed += len(events)
    if page is not None:
        more = "; there are more, see --limit" if page.cursor else ""
        click.echo(f"{printed:,} event{'' if printed == 1 else 's'}{more}", err=True)
    return page


def _table(events: Sequence[_Event], *, header: bool) -> "Table":
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, show_header=header, header_style="bold", pad_edge=False)
    table.add_column("timestamp", no_wrap=True)
    table.add_column("severity", no_wrap=True, min_width=8)
    table.add_column("source", overflow="fold", max_width=24)
    table.add_column("message", overflow="fold")
    for event in events:
        message = Text(visible(event.message))
        if bytes(event.metadata) != b"{}":
            message.append(" " + visible(bytes(event.metadata).decode()), "dim")
        table.add_row(
            Text(visible(event.timestamp)),
            Text(visible(event.severity), _COLOURS.get(event.severity, "")),
            Text(visible(event.source)),
            message,
        )
    return table
