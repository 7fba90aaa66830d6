"""A table for a person.

In: columns and rows. Out: standard output. No text that a cell holds can act on the terminal.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

from parsec.cli.terminal import visible

Kind = Literal["text", "number", "long"]
"""`long` is wrapped where the terminal is too narrow, the others are cut; a `number` stands at the right."""

Cell = str | tuple[str, str]
"""A text, or a text and its style."""

_KINDS: Mapping[Kind, dict[str, Any]] = {
    "text": {"no_wrap": True},
    "number": {"no_wrap": True, "justify": "right"},
    "long": {"overflow": "fold"},
}


def print_table(columns: Mapping[str, Kind], rows: Iterable[Sequence[Cell]]) -> None:
    """`columns`: title to kind."""
    # Late: no program that reads a pipe needs it.
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, header_style="bold", pad_edge=False)
    for title, kind in columns.items():
        table.add_column(Text(visible(title)), **_KINDS[kind])
    for row in rows:
        styled = ((cell, "") if isinstance(cell, str) else cell for cell in row)
        table.add_row(*(Text(visible(text), style) for text, style in styled))
    Console(highlight=False).print(table)
