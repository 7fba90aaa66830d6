"""What may be written to a terminal: nothing that a log message could use to move the cursor or hide text."""

import json
import sys
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

# Controls, format characters (bidirectional overrides, zero width), surrogates, private use, line separators.
_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Co", "Zl", "Zp"})
_SHORT = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}


def is_terminal() -> bool:
    """Whether a person sees standard output."""
    return sys.stdout.isatty()


def cells(text: str) -> int:
    """How many columns of a terminal `text` takes; `text` is visible."""
    return sum(0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def visible(text: str) -> str:
    """`text` with each character that would not be seen written as an escape: \\n, \\x1b, \\u202e."""
    if text.isprintable():
        return text
    return "".join(_escape(c) if unicodedata.category(c) in _HIDDEN else c for c in text)


def visible_json(text: str) -> str:
    """The same for JSON that stays JSON: within its strings \\u escapes mean the characters themselves."""
    if text.isprintable():
        return text
    return "".join(json.dumps(c)[1:-1] if unicodedata.category(c) in _HIDDEN else c for c in text)


def _escape(character: str) -> str:
    code = ord(character)
    if character in _SHORT:
        return _SHORT[character]
    if code <= 0xFF:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"


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
