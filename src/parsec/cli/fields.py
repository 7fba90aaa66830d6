"""`parsec fields`: which fields events have, or which values a field has."""

import click
import msgspec

from parsec.cli.server import asking, scope_flags
from parsec.cli.terminal import is_terminal, visible


@click.command()
@scope_flags
@click.option("--values", "of", metavar="FIELD", help="List the values of this field instead, as metadata.user.id.")
@click.option("--limit", type=click.IntRange(1, 10_000), default=100, show_default=True, help="Most values to print.")
def fields(
    expression: str | None,
    url: str,
    tenant: str | None,
    start: str | None,
    end: str | None,
    of: str | None,
    limit: int,
) -> None:
    """List the fields of events and how many events have each; EXPRESSION says which events, as for `parsec query`.

    A table on a terminal, JSON lines in a pipe. Exit code: 0 answered, 1 refused, 3 no answer.
    """
    with asking(url) as client:
        if of is None:
            names = client.fields(tenant, q=expression, start=start, end=end).fields
            rows, lines = [(each.name, each.count) for each in names], [msgspec.json.encode(each) for each in names]
        else:
            values = client.values(of, tenant, q=expression, start=start, end=end, limit=limit).values
            rows, lines = [(each.value, each.count) for each in values], [msgspec.json.encode(each) for each in values]
    if is_terminal():
        _print_table("field" if of is None else of, rows)
    else:
        click.echo(b"".join(line + b"\n" for line in lines), nl=False)


def _print_table(title: str, rows: list[tuple[str, int]]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column(Text(visible(title)), overflow="fold")
    table.add_column("events", justify="right", no_wrap=True)
    for name, count in rows:
        table.add_row(Text(visible(name)), f"{count:,}")
    Console(highlight=False).print(table)
