"""`parsec fields`: which fields events have, or which values a field has."""

import click
import msgspec

from parsec.cli.server import asking, scope_flags, warn_of_gaps
from parsec.cli.terminal import is_terminal, print_table
from parsec.client import FieldList, ValueList

_encode = msgspec.json.Encoder().encode


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
    found: FieldList | ValueList
    with asking(url, expression=expression) as client:
        if of is None:
            found = client.fields(tenant, q=expression, start=start, end=end)
            rows, lines = [(each.name, f"{each.count:,}") for each in found.fields], map(_encode, found.fields)
        else:
            found = client.values(of, tenant, q=expression, start=start, end=end, limit=limit)
            rows, lines = [(each.value, f"{each.count:,}") for each in found.values], map(_encode, found.values)
    if is_terminal():
        print_table({"field" if of is None else of: "long", "events": "number"}, rows)
    else:
        click.echo(b"".join(line + b"\n" for line in lines), nl=False)
    warn_of_gaps(found)
