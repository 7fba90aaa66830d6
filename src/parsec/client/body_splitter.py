"""Splits a stream of any length into request bodies, in constant memory.

In: bytes of JSON lines, of one or several JSON values in any layout (an array, `{"events": [...]}`, `{"Records":
[...]}`, pretty-printed objects), or plain text lines. Out: pieces, each an event with the line on which it begins, its
bytes unchanged; and batches of them, limited in number and bytes. A broken event passes through unchanged too; the
server rejects it. Errors: a line that is too long becomes a fault; Rejected(event_too_large) for a value that is too
long and spans lines, because the beginning of the next one is unknown. Next: parsec.client.client.
"""

import io
import os
import re
import select
import stat
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from typing import BinaryIO, Literal, NamedTuple

import msgspec

from parsec.client.input_decoder import Chunks
from parsec.core.errors import Rejected

Kind = Literal["text", "json"]

MAX_INPUT_EVENT_BYTES = 16 << 20
MAX_INPUT_VALUE_BYTES = 64 << 20
"""The same for a JSON value that may hold many events, such as a file of audit records."""
MAX_BODY_BYTES = 4 << 20
_CHUNK_BYTES = 1 << 16
_LOOK_AHEAD_BYTES = 256
_SHORT_LIST_BYTES = 1 << 20
_IDLE_S = 0.5


class Piece(NamedTuple):
    """The bytes of one event and the line on which it begins, from 1. `fault`: why it cannot be sent."""

    data: bytes
    line: int
    is_text: bool = False
    fault: str = ""


Pieces = Iterator[Piece | None]
"""None when the stream pauses."""

_STRING = rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"'
# Group 1 is the next bracket outside strings, or the quote that opens an unfinished string.
_BRACKETS = re.compile(rb'(?:[^"{}\[\]]++|' + _STRING + rb')*+([{}\[\]"])', re.DOTALL)
_BRACKETS_AND_COMMAS = re.compile(rb'(?:[^"{}\[\],]++|' + _STRING + rb')*+([{}\[\],"])', re.DOTALL)
_EVENTS_OBJECT = re.compile(rb'\{\s*"(?:events|Records)"\s*:\s*\[')
_OBJECT_LINES = re.compile(rb"\n(\{[^\n]*\})[ \t\r]*(?=\n(\{[^\n]*\})[ \t\r]*\n)")
_LAST_OBJECT_LINES = re.compile(rb"\n(\{[^\n]*\})[ \t\r]*(?=\n|\Z)")
_OBJECT = msgspec.json.Decoder(dict[str, msgspec.Raw])
_STRINGS_AND_BREAKS = re.compile(_STRING + rb"|\n", re.DOTALL)
_BLANK = b" \t\r\n"
_BOM = b"\xef\xbb\xbf"


class BodySource:
    """A binary stream in chunks. `bytes_read` is its position, for a progress bar."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self.bytes_read = 0
        try:
            self._descriptor: int | None = stream.fileno()
        except (OSError, io.UnsupportedOperation):
            self._descriptor = None

    @property
    def size(self) -> int | None:
        """Bytes of a regular file; None for a pipe."""
        if self._descriptor is None:
            return None
        found = os.fstat(self._descriptor)
        return found.st_size if stat.S_ISREG(found.st_mode) else None

    @property
    def modified_ns(self) -> int | None:
        """When a regular file was changed last; None for a pipe."""
        if self._descriptor is None:
            return None
        found = os.fstat(self._descriptor)
        return found.st_mtime_ns if stat.S_ISREG(found.st_mode) else None

    def chunks(self) -> Chunks:
        """None whenever nothing came for half a second, so that the last events of a slow pipe are sent."""
        while True:
            if self._descriptor is not None and not select.select([self._descriptor], [], [], _IDLE_S)[0]:
                yield None
                continue
            chunk = self._read()
            if not chunk:
                return
            self.bytes_read += len(chunk)
            yield chunk

    def _read(self) -> bytes:
        read1: Callable[[int], bytes] | None = getattr(self._stream, "read1", None)
        return read1(_CHUNK_BYTES) if read1 else self._stream.read(_CHUNK_BYTES)


def pieces_of(chunks: Chunks, kind: Kind | None) -> Pieces:
    """The events of a stream. `kind` None: detected from its first line."""
    head = _first_line(chunks)
    kind = kind or kind_of(head)
    rest = _with_head(head, chunks)
    if kind == "json" and not _one_a_line(head):
        yield from _values(rest)
    else:
        yield from _lines(rest, is_text=kind == "text")


def values_in(data: bytes) -> int:
    """How many JSON values stand in these bytes."""
    splitter = _Splitter()
    return sum(1 for _ in chain(splitter.feed(data), splitter.end()))


def kind_of(head: bytes) -> Kind:
    """JSON when it begins like an object or an array of objects or arrays; "[2026-01-01] started" is text."""
    head = head.lstrip(_BOM + _BLANK)
    if head[:1] == b"[":
        return "json" if head[1:].lstrip(_BLANK)[:1] in (b"{", b"[", b"]", b"") else "text"
    return "json" if head[:1] == b"{" else "text"


def _one_a_line(head: bytes) -> bool:
    """Whether newlines separate the values: unless the first line is an array or clearly unfinished. Then a bad line
    harms no other line, as unbalanced brackets would."""
    first = head.lstrip(_BOM + _BLANK).partition(b"\n")[0].rstrip(_BLANK)
    if _EVENTS_OBJECT.match(first):
        return _has_more_fields(first)
    return not (first.startswith(b"[") or first.endswith((b"{", b"[", b",", b":")))


def _has_more_fields(line: bytes) -> bool:
    """Whether this is a whole object with fields beside its list, so that it may be an event itself."""
    try:
        return len(msgspec.json.decode(line, type=dict[str, msgspec.Raw])) > 1
    except (msgspec.DecodeError, ValueError):
        return False


def batches(pieces: Iterable[Piece | None], max_events: int, max_bytes: int = MAX_BODY_BYTES) -> Iterator[list[Piece]]:
    """A batch ends at `max_events`, before `max_bytes` (a larger event is alone), or when the stream pauses."""
    held: list[Piece] = []
    size = 0
    for piece in chain(pieces, (None,)):
        if held and (piece is None or size + len(piece.data) > max_bytes):
            yield held
            held, size = [], 0
        if piece is None:
            continue
        held.append(piece)
        size += len(piece.data) + 1
        if len(held) >= max_events:
            yield held
            held, size = [], 0


def _first_line(chunks: Chunks) -> bytes:
    """All chunks up to the one that ends the first line that is not blank, or shows a long list."""
    head = bytearray()
    begin = 0
    for chunk in chunks:
        searched = max(begin, len(head))
        head += chunk or b""
        if not head[begin : begin + 1].strip(_BOM + _BLANK):
            begin = searched = len(head) - len(head.lstrip(_BOM + _BLANK))
        if head.find(b"\n", searched) >= 0 or head.startswith(b"[", begin) or len(head) > MAX_INPUT_VALUE_BYTES:
            break
        if len(head) > _SHORT_LIST_BYTES and _EVENTS_OBJECT.match(head, begin):
            break
    return bytes(head)


def _with_head(head: bytes, chunks: Chunks) -> Chunks:
    yield head.removeprefix(_BOM)
    yield from chunks


def _lines(chunks: Chunks, *, is_text: bool) -> Pieces:
    most = MAX_INPUT_EVENT_BYTES if is_text else MAX_INPUT_VALUE_BYTES
    rest = bytearray()
    number, skipping = 1, False
    for chunk in chain(chunks, (b"\n",)):  # the last line may lack its end
        if chunk is None:
            yield None
            continue
        rest += chunk
        if b"\n" in chunk:
            *lines, rest = rest.split(b"\n")
            for line in lines:
                if line.strip(_BLANK) and not skipping:
                    yield Piece(bytes(line.removesuffix(b"\r")), number, is_text)
                skipping = False
                number += 1
        if skipping:
            rest.clear()
        elif len(rest) > most:
            skipping = True
            rest.clear()
            yield Piece(b"", number, is_text, _too_large(most))


def _values(chunks: Chunks) -> Pieces:
    splitter = _Splitter()
    for chunk in chunks:
        if chunk is None:
            yield from splitter.feed(b"")
            yield None
            continue
        yield from splitter.feed(chunk)
        if len(splitter.rest) > MAX_INPUT_VALUE_BYTES:
            raise Rejected("event_too_large", _too_large(MAX_INPUT_VALUE_BYTES))
    yield from splitter.end()


def _too_large(most: int) -> str:
    return f"an event is larger than {most >> 20} MiB; remove it, or split what it holds"


class _Splitter:
    """Splits JSON values by their brackets and strings alone.

    1. `rest` begins where the current piece begins, on line `_line`; `_at` is how far it was scanned.
    2. `_depth` counts the brackets open at `_at`. A piece ends where it returns to `_floor`, which is above 0 inside an
       array of events only.
    3. `_closing`: the array of an `{"events": [...]}` object has ended, and the object's own `}` is still to come.
       Anything before it is a piece, so that the server rejects it; nothing is dropped silently.
    4. Two whole objects on lines after one another, without a comma, stand in no value: what came before never ends.
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
        if stripped := data.lstrip(_BLANK):
            line = self._line + data.count(b"\n", 0, len(data) - len(stripped))
            yield Piece(_on_one_line(stripped.rstrip(_BLANK)), line)

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
            events = _EVENTS_OBJECT.match(self.rest, at) if self._depth == 0 else None
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
