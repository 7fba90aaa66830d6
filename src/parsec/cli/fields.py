"""`parsec fields`: list fields, or the values of one. In: an expression. Out: counts of events. Next: parsec.client."""

from collections.abc import Sequence
from typing import Any

import click

from parsec.api import parameters
from parsec.api.query import FieldCount, ValueCount
from parsec.cli.client_flags import explain_if_empty, open_client, searched_range, server_flags, warn_if_incomplete
from parsec.cli.query_flags import query_flags
from parsec.cli.terminal import counted, is_terminal, print_json_lines, print_table
from parsec.client import FieldList, ValueList


@click.command()
@query_flags(parameters.VALUES)
@click.option(
    "--values", "of", metavar="FIELD", help="List the values of this field instead, for example metadata.user.id."
)
@server_flags
def fields(url: str, of: str | None, limit: int, **asked: Any) -> None:
    """List the fields of events, or the values of a field.

    Each with the number of events that have it. EXPRESSION selects events, as for `parsec query`. Prints a table on a
    terminal, JSON lines in a pipe. Exit code: 0 answered, 1 refused, 3 no answer.
    """
    found: FieldList | ValueList
    rows: Sequence[tuple[str, FieldCount | ValueCount]]
    with open_client(url, expression=asked["q"]) as client:
        if of is None:
            found = client.fields(**asked)
            rows = [(each.name, each) for each in found.fields]
        else:
            found = client.values(of, limit=limit, **asked)
            rows = [(each.value, each) for each in found.values]
    if is_terminal():
        cells = ((name, f"{each.count:,}") for name, each in rows)
        print_table({"field" if of is None else of: "long", "events": "number"}, cells)
        if rows:
            click.echo(f"{counted(len(rows), 'field' if of is None else 'value')} {searched_range(found)}", err=True)
    else:
        print_json_lines(each for _, each in rows)
    explain_if_empty(found)
    warn_if_incomplete(found, set())
