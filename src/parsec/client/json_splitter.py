"""Splits JSON values by their brackets and strings alone, whatever their layout.

In: bytes in any pieces. Out: pieces, each one value on one line, with the line on which it begins; the elements of an
array, `{"events": [...]}` or `{"Records": [...]}` are pieces of their own. Errors: none; a broken value passes through.
Next: parsec.client.body_splitter.
"""

import re
from collections.abc import Iterator
from itertools import chain
from typing import NamedTuple

import msgspec

_LOOK_AHEAD_BYTES = 256

_STRING = rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"'
# Group 1 is the next bracket outside strings, or the quote that opens an unfinished string.
_BRACKETS = re.compile(rb'(?:[^"{}\[\]]++|' + _STRING + rb')*+([{}\[\]"])', re.DOTALL)
_BRACKETS_AND_COMMAS = re.compile(rb'(?:[^"{}\[\],]++|' + _STRING + rb')*+([{}\[\],"])', re.DOTALL)
EVENTS_OBJECT = re.compile(rb'\{\s*"(?:events|Records)"\s*:\s*\[')
_OBJECT_LINES = re.compile(rb"\n(\{[^\n]*\})[ \t\r]*(?=\n(\{[^\n]*\})[ \t\r]*\n)")
_LAST_OBJECT_LINES = re.compile(rb"\n(\{[^\n]*\})[ \t\r]*(?=\n|\Z)")
_OBJECT = msgspec.json.Decoder(dict[str, msgspec.Raw])
_STRINGS_AND_BREAKS = re.compile(_STRING + rb"|\n", re.DOTALL)
BLANK = b" \t\r\n"


class Piece(NamedTuple):
    """The bytes of one event and the line on which it begins, from 1. `fault`: why it cannot be sent."""

    data: bytes
    line: int
    is_text: bool = False
    fault: str = ""


class JsonSplitter:
    """One stream of values.

    1. `rest` begins where the current piece begins, on line `_line`; `_at` is how far it was scanned.
    2. `_depth` counts the brackets open at `_at`. A piece ends where it returns to `_floor`, which is above 0 inside an
       array of events only.
    3. `_closing`: the array of an `{"events": [...]}` object has ended, and the object's own `}` is still to come.
       Anything before it is a piece, so that the server rejects it; nothing is dropped silently.
    4. Two lines in a row that are whole objects, without a comma between them, are in no value: the one before them
       has no end.
    """

    def __init__(self) -> None:
        self.rest = bytearray()
        self._at = 0
        self._depth = 0
        self._floor = 0
        self._closing = False
        self._line = 1
        self._enough = 0
        self._looked = 0

    def feed(self, chunk: bytes, *, final: bool = False) -> Iterator[Piece]:
        """The pieces that this chunk completes; without a chunk, all that are complete."""
        self.rest += chunk
        if chunk and len(self.rest) < self._enough:
            return
        yield from self._scan(final)
        while self._depth and (lines := self._lines_of_events(final)) is not None:
            yield from self._piece(0, lines)
            self._line += self.rest.count(b"\n", 0, lines)
            self._drop(lines)
            self._depth = self._floor = self._at = 0
            self._closing = False
            yield from self._scan(final)
        # A long string is scanned again from its begin: not at each chunk, which would take the square of its length.
        self._enough = len(self.rest) + (len(self.rest) - self._at) // 8

    def _scan(self, final: bool) -> Iterator[Piece]:
        start = 0
        while match := self._next(final):
            self._at = match.end()
            cut = self._turn(match)
            if cut is not None:
                yield from self._piece(start, cut[0])
                self._line += self.rest.count(b"\n", start, cut[1])
                start = self._at = cut[1]
        self._drop(start)

    def _drop(self, count: int) -> None:
        del self.rest[:count]
        self._at -= count
        if count:
            self._looked = 0

    def _lines_of_events(self, final: bool) -> int | None:
        """Where two lines begin of which each is an object; at the end of the stream one is enough."""
        pattern = _LAST_OBJECT_LINES if final else _OBJECT_LINES
        for found in pattern.finditer(self.rest, self._looked):
            if all(_is_object(bytes(line)) for line in found.groups() if line is not None):
                return found.start() + 1
        self._looked = max(0, self.rest.rfind(b"\n", 0, max(0, self.rest.rfind(b"\n"))))
        return None

    def end(self) -> Iterator[Piece]:
        """The rest of an input that stops in the middle is a piece too, a broken one."""
        yield from self.feed(b"", final=True)
        yield from self._piece(0, len(self.rest))

    def _piece(self, start: int, end: int) -> Iterator[Piece]:
        data = bytes(self.rest[start:end])
        if stripped := data.lstrip(BLANK):
            line = self._line + data.count(b"\n", 0, len(data) - len(stripped))
            yield Piece(_on_one_line(stripped.rstrip(BLANK)), line)

    def _next(self, final: bool) -> re.Match[bytes] | None:
        """The next bracket or comma that counts; None when more bytes are needed first."""
        tokens = _BRACKETS_AND_COMMAS if self._depth == self._floor else _BRACKETS
        match = tokens.match(self.rest, self._at)
        if match is None:
            self._at = len(self.rest)
            return None
        at = match.start(1)
        begins_value = match[1] == b"{" and self._depth == 0
        if match[1] == b'"' or (begins_value and not final and len(self.rest) - at < _LOOK_AHEAD_BYTES):
            self._at = at
            return None
        return match

    def _turn(self, match: re.Match[bytes]) -> tuple[int, int] | None:
        """Counts the bracket or comma; if a piece ends here: its end, and the start of the next one."""
        at, token = match.start(1), match[1]
        if token == b",":
            return at, at + 1
        if token in b"{[":
            events = EVENTS_OBJECT.match(self.rest, at) if self._depth == 0 else None
            if self._depth == 0 and (events or token == b"["):
                self._depth = self._floor = 2 if events else 1
                return at, events.end() if events else at + 1
            self._depth += 1
            return None
        self._depth = max(0, self._depth - 1)
        if self._depth < self._floor:
            self._closing = self._depth > 0
            self._floor = 0
            return at, at + 1
        if self._depth > 0:
            return None
        end = at if self._closing else at + 1
        self._closing = False
        return end, at + 1


def _is_object(line: bytes) -> bool:
    try:
        _OBJECT.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
    return True


def _on_one_line(piece: bytes) -> bytes:
    """Line breaks between tokens become spaces; one inside a string becomes another character that JSON forbids."""
    if b"\n" not in piece:
        return piece
    return _STRINGS_AND_BREAKS.sub(lambda m: b" " if m[0] == b"\n" else m[0].replace(b"\n", b"\v"), piece)


def values_in(data: bytes) -> int:
    """How many JSON values stand in these bytes."""
    splitter = JsonSplitter()
    return sum(1 for _ in chain(splitter.feed(data), splitter.end()))
