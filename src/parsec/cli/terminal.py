"""Printing and exit codes: text that is safe on a terminal, tables, JSON lines, progress bars, quiet exits.

In: text from anyone, structs, rows. Out: standard output and standard error. Errors: BrokenPipeError.
A log message must not move the cursor or hide text: characters that could are written as escapes.
"""

import io
import json
import os
import sys
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any, Literal, NoReturn

import click
import msgspec

# Controls, format characters (bidirectional overrides, zero width), surrogates, private use, line separators.
_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Co", "Zl", "Zp"})
_SHORT = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}


def is_terminal() -> bool:
    return sys.stdout.isatty()


def cells(text: str) -> int:
    """The number of terminal columns that visible `text` takes."""
    return sum(0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def visible(text: str) -> str:
    """`text` with an escape for each invisible character: \\n, \\x1b, \\u202e."""
    if text.isprintable():
        return text
    return "".join(_escape(c) if unicodedata.category(c) in _HIDDEN else c for c in text)


def visible_json(text: str) -> str:
    """The same for JSON, which stays the same JSON: within its strings \\u escapes mean the characters themselves."""
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


def counted(count: int, noun: str) -> str:
    """`1 event`, `1,234 events`."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def print_json_lines(items: Iterable[object]) -> None:
    """Each item as one line of JSON, in one write."""
    click.echo(b"".join(msgspec.json.encode(item) + b"\n" for item in items), nl=False)


Kind = Literal["text", "number", "long"]
"""`long` text is wrapped where the terminal is too narrow, the others are cut; a `number` is right-aligned."""

Cell = str | tuple[str, str]
"""A text, or a text and its style."""

_KINDS: Mapping[Kind, dict[str, Any]] = {
    "text": {"no_wrap": True},
    "number": {"no_wrap": True, "justify": "right"},
    "long": {"overflow": "fold"},
}


def print_table(columns: Mapping[str, Kind], rows: Iterable[Sequence[Cell]]) -> None:
    """A table for a terminal. `columns`: title to kind. Prints nothing without rows."""
    # Late: commands in a pipe do without it.
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, header_style="bold", pad_edge=False)
    for title, kind in columns.items():
        table.add_column(Text(visible(title)), **_KINDS[kind])
    for row in rows:
        styled = ((cell, "") if isinstance(cell, str) else cell for cell in row)
        table.add_row(*(Text(visible(text), style) for text, style in styled))
    if table.row_count:
        Console(highlight=False).print(table)


@contextmanager
def progress_bar(
    total: float | None, *, done: float = 0, in_bytes: bool = False
) -> Iterator[Callable[[float, str], None]]:
    """A bar on standard error when that is a terminal. The function it gives takes how much is done, and a text."""
    if total == 0 or not sys.stderr.isatty():
        yield lambda _done, _text: None
        return
    from rich import progress as rich
    from rich.console import Console

    of_bytes = (rich.DownloadColumn(), rich.TransferSpeedColumn()) if in_bytes else ()
    times = (rich.TimeElapsedColumn(), rich.TimeRemainingColumn())
    columns = (rich.BarColumn(), *of_bytes, rich.TextColumn("{task.description}"), *times)
    with rich.Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=total, completed=done)  # type: ignore[arg-type]  # a float is as good
        yield lambda done, text: bar.update(task, completed=done, description=text)


NOT_ALL = 1
BAD_SETTINGS = 2
GAVE_UP = 3
DIFFERENCE = 4
INTERRUPTED = 130
READER_GONE = 141
"""The last two are the shell's: Ctrl-C, and a closed pipe (`| head`)."""


def fail(message: str, code: int) -> NoReturn:
    """Ends the command with one line on standard error."""
    click.echo(f"parsec: {message}", err=True)
    sys.exit(code)


class QuietGroup(click.Group):
    """A group of commands that end without a traceback on a broken pipe or Ctrl-C."""

    def invoke(self, ctx: click.Context) -> Any:
        if isinstance(sys.stdout, io.TextIOWrapper):
            # A character that the terminal's encoding lacks would end the command otherwise.
            sys.stdout.reconfigure(errors="backslashreplace")
        try:
            result = super().invoke(ctx)
            sys.stdout.flush()
        except BrokenPipeError:
            with suppress(OSError, ValueError):  # the rest of the buffer would fail again at the interpreter's exit
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            ctx.exit(READER_GONE)
        except KeyboardInterrupt:
            ctx.exit(INTERRUPTED)
        return result
