"""`parsec fields`: list fields, or the values of one. In: an expression. Out: counts of events. Next: parsec.client."""

from collections.abc import Sequence

import click

from parsec.api.query import FieldCount, ValueCount
from parsec.cli.client_flags import open_client, scope_flags, warn_if_incomplete
from parsec.cli.terminal import is_terminal, print_json_lines, print_table
from parsec.client import FieldList, ValueList


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
    """List the fields of events, or the values of a field.

    Each with the number of events that have it. EXPRESSION selects events, as for `parsec query`. Prints a table on a
    terminal, JSON lines in a pipe. Exit code: 0 answered, 1 refused, 3 no answer.
    """
    found: FieldList | ValueList
    rows: Sequence[tuple[str, FieldCount | ValueCount]]
    with open_client(url, expression=expression) as client:
        if of is None:
            found = client.fields(tenant, q=expression, start=start, end=end)
            rows = [(each.name, each) for each in found.fields]
        else:
            found = client.values(of, tenant, q=expression, start=start, end=end, limit=limit)
            rows = [(each.value, each) for each in found.values]
    if is_terminal():
        print_table(
            {"field" if of is None else of: "long", "events": "number"},
            ((name, f"{each.count:,}") for name, each in rows),
        )
    else:
        print_json_lines(each for _, each in rows)
    warn_if_incomplete(found, set())
