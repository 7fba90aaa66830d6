"""Printers of events: table, JSON lines, CSV, or the messages alone.

In: events as JSON bytes. Out: standard output. Errors: BrokenPipeError. A terminal gets lines wrapped to its width,
coloured severities, and escapes for characters that could control it; a pipe gets whole lines without colour.
Next: parsec.cli.terminal.
"""

import csv
import io
import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Literal

import click
import msgspec

from parsec.cli.terminal import cells, is_terminal, visible, visible_json

if TYPE_CHECKING:
    from rich.text import Text

Output = Literal["table", "json", "csv", "raw"]
Row = Mapping[str, msgspec.Raw]
Printer = Callable[[Sequence[msgspec.Raw]], None]
"""Prints events, in any number of calls."""

TABLE_COLUMNS = ("timestamp", "severity", "source", "message")
CSV_COLUMNS = ("timestamp", "severity", "source", "message", "id", "metadata")
MAX_LINES = 10
"""Per event in a table on a terminal; a message may be 256 KiB."""
_COLOURS = {"trace": "dim", "debug": "dim", "info": "green", "warn": "yellow", "error": "red", "fatal": "bold red"}
_MIN_LAST_COLUMN = 20
_MAX_WIDTH_IN_PIPE = 64
_PRECISE_TIMESTAMP = re.compile(r"(.*\.[0-9]{3})[0-9]+Z")
_ROWS = msgspec.json.Decoder(dict[str, msgspec.Raw])


output_flag = click.option(
    "--output",
    type=click.Choice(["table", "json", "csv", "raw"]),
    help="raw: the messages alone. Default: table on a terminal, json (one event per line) in a pipe.",
)


def printer(output: Output | None, fields: Sequence[str]) -> Printer:
    """The printer for `--output` and `--fields`, on a terminal or in a pipe."""
    terminal = is_terminal()
    output = output or ("table" if terminal else "json")
    if output == "json":
        return partial(_print_json, terminal)
    if output == "raw":
        return partial(_print_texts, fields or ("message",), terminal)
    if output == "csv":
        return Csv(fields or CSV_COLUMNS, terminal).show
    return (TerminalTable(fields) if terminal else PlainTable(fields)).show


def cell(row: Row, name: str) -> str:
    """Text as it is, null as nothing, anything else as JSON."""
    raw = row.get(name)
    if raw is None or bytes(raw) == b"null":
        return ""
    return str(msgspec.json.decode(raw)) if bytes(raw).startswith(b'"') else bytes(raw).decode()


def _print_json(terminal: bool, events: Sequence[msgspec.Raw]) -> None:
    """Each event as it came; on a terminal with \\u escapes for invisible characters."""
    lines = [bytes(event) for event in events]
    if terminal:
        lines = [visible_json(line.decode()).encode() for line in lines]
    click.echo(b"".join(line + b"\n" for line in lines), nl=False)


def _print_texts(fields: Sequence[str], terminal: bool, events: Sequence[msgspec.Raw]) -> None:
    """The chosen fields with tabs between them; a pipe gets them as they are."""
    lines = ["\t".join(cell(row, name) for name in fields) for row in map(_ROWS.decode, events)]
    # Bytes, because a text stream refuses half a surrogate pair.
    text = "".join((visible(line) if terminal else line) + "\n" for line in lines)
    click.echo(text.encode(errors="surrogatepass"), nl=False)


class Csv:
    """A line of names, then a line per event; values other than text as JSON."""

    def __init__(self, fields: Sequence[str], terminal: bool) -> None:
        self._fields = fields
        self._terminal = terminal
        self._begun = False

    def show(self, events: Sequence[msgspec.Raw]) -> None:
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        if not self._begun:
            writer.writerow(self._fields)
        self._begun = True
        for row in map(_ROWS.decode, events):
            cells_of = [cell(row, name) for name in self._fields]
            writer.writerow([visible(each) for each in cells_of] if self._terminal else cells_of)
        click.echo(text.getvalue().encode(errors="surrogatepass"), nl=False)


class _Table:
    """Columns that grow with the events so far, so that a stream and a page look alike."""

    def __init__(self, fields: Sequence[str]) -> None:
        self.columns = tuple(fields) or TABLE_COLUMNS
        self.with_metadata = not fields
        self._widths = [cells(name) for name in self.columns[:-1]]
        self.begun = False

    def cells_of(self, events: Sequence[msgspec.Raw], widest: int) -> list[tuple[list[str], str]]:
        """The visible cells of each event, and its metadata; widens the columns."""
        found = []
        for row in map(_ROWS.decode, events):
            shown = [self.shorten(visible(cell(row, name)), name) for name in self.columns]
            metadata = visible(cell(row, "metadata")) if self.with_metadata else ""
            found.append((shown, "" if metadata == "{}" else metadata))
            self._widths = [min(widest, max(w, cells(text))) for w, text in zip(self._widths, shown, strict=False)]
        return found

    def shorten(self, text: str, _name: str) -> str:
        return text

    def fitted(self, shown: Sequence[str]) -> list[str]:
        """All cells but the last, padded to their columns."""
        return [_fit(text, width) for text, width in zip(shown, self._widths, strict=False)]


class PlainTable(_Table):
    """One line per event, neither wrapped nor cut at the end."""

    def show(self, events: Sequence[msgspec.Raw]) -> None:
        rows = self.cells_of(events, _MAX_WIDTH_IN_PIPE)
        lines = [] if self.begun or not rows else [self._line(self.columns, "")]
        self.begun = self.begun or bool(rows)
        lines += [self._line(shown, metadata) for shown, metadata in rows]
        click.echo("".join(line + "\n" for line in lines), nl=False)

    def _line(self, shown: Sequence[str], metadata: str) -> str:
        return "  ".join((*self.fitted(shown), f"{shown[-1]} {metadata}")).rstrip()


class TerminalTable(_Table):
    """As wide as the terminal; the last column is wrapped, and cut after MAX_LINES lines.

    Without `--fields`, timestamps are cut to milliseconds, which leaves room for messages.
    """

    def __init__(self, fields: Sequence[str]) -> None:
        from rich.console import Console

        super().__init__(fields)
        self._console = Console(highlight=False)

    def shorten(self, text: str, name: str) -> str:
        precise = _PRECISE_TIMESTAMP.fullmatch(text) if name == "timestamp" and self.with_metadata else None
        return f"{precise[1]}Z" if precise else text

    def show(self, events: Sequence[msgspec.Raw]) -> None:
        from rich.text import Text

        rows = self.cells_of(events, max(24, self._console.width // 3))
        if rows and not self.begun:
            self._print(Text("  ".join((*self.fitted(self.columns), self.columns[-1])), "bold"))
        self.begun = self.begun or bool(rows)
        for shown, metadata in rows:
            self._show_one(shown, metadata)

    def _show_one(self, shown: Sequence[str], metadata: str) -> None:
        from rich.text import Text

        head = Text()
        for name, text, fitted in zip(self.columns, shown, self.fitted(shown), strict=False):
            head.append(fitted, _COLOURS.get(text, "") if name == "severity" else "").append("  ")
        rest_width = self._console.width - head.cell_len
        indent = head.cell_len
        if rest_width < _MIN_LAST_COLUMN and head.cell_len:
            head.rstrip()
            self._print(head)
            head, indent, rest_width = Text("    "), 4, max(1, self._console.width - 4)
        for number, line in enumerate(self._wrapped(shown[-1], metadata, rest_width)):
            self._print((head if number == 0 else Text(" " * indent)) + line)

    def _wrapped(self, text: str, metadata: str, width: int) -> "list[Text]":
        from rich.text import Text

        room = width * MAX_LINES
        rest = Text(text[:room], _COLOURS.get(text, "") if self.columns[-1] == "severity" else "")
        if metadata:
            rest.append(" " + metadata[:room], "dim")
        lines = list(rest.wrap(self._console, width, overflow="fold"))
        left = len(text) + len(metadata) - sum(len(line.plain) for line in lines[:MAX_LINES])
        if len(lines) > MAX_LINES:
            lines[MAX_LINES:] = [Text(f"... {left:,} characters more; use --output json to see them", "italic dim")]
        return lines or [Text()]

    def _print(self, line: "Text") -> None:
        self._console.print(line, no_wrap=True, overflow="ellipsis")


def _fit(text: str, width: int) -> str:
    """`text` padded or cut to `width` columns, with an ellipsis where it is cut."""
    short = text[: width + 1]
    if cells(short) > width:
        while cells(short) >= width:
            short = short[:-1]
        short += "\u2026"
    return short + " " * (width - cells(short))
