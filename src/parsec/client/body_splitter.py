"""Splits a stream of any length into request bodies, in constant memory.

In: bytes of JSON lines, of one or several JSON values in any layout (an array, `{"events": [...]}`, pretty-printed
objects), or plain text lines. Out: bodies of limited events and bytes, one event per line, the bytes of each event
unchanged. A broken event passes through unchanged too; the server rejects it. Errors: Rejected(event_too_large) for an
event beyond 16 MiB. Next: parsec.client.client.
"""

import io
import os
import re
import select
import stat
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from typing import BinaryIO, Literal

from parsec.core.errors import Rejected

Kind = Literal["text", "json"]

MAX_INPUT_EVENT_BYTES = 16 << 20
MAX_BODY_BYTES = 4 << 20
_CHUNK_BYTES = 1 << 16
_LOOK_AHEAD_BYTES = 256
_IDLE_S = 0.5

# Between splitting and batching: the bytes of an event, or None when the stream pauses.
Pieces = Iterator[bytes | None]

_STRING = rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"'
# Group 1 is the next bracket outside strings, or the quote that opens an unfinished string.
_BRACKETS = re.compile(rb'(?:[^"{}\[\]]++|' + _STRING + rb')*+([{}\[\]"])', re.DOTALL)
_BRACKETS_AND_COMMAS = re.compile(rb'(?:[^"{}\[\],]++|' + _STRING + rb')*+([{}\[\],"])', re.DOTALL)
_EVENTS_OBJECT = re.compile(rb'\{\s*"events"\s*:\s*\[')
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

    def chunks(self) -> Pieces:
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


def events_of(source: BodySource, kind: Kind | None, wrap: Callable[[bytes], bytes]) -> Pieces:
    """The events of a stream. `kind` None: detected from its first line. `wrap` makes an event of a line of text."""
    chunks = source.chunks()
    head = _first_line(chunks)
    kind = kind or kind_of(head)
    rest = _with_head(head, chunks)
    if kind == "json" and not _one_a_line(head):
        yield from _values(rest)
        return
    for line in _lines(rest):
        yield wrap(line) if line is not None and kind == "text" else line


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
    return not (first.startswith(b"[") or _EVENTS_OBJECT.match(first) or first.endswith((b"{", b"[", b",")))


def bodies(pieces: Iterable[bytes | None], max_events: int, max_bytes: int = MAX_BODY_BYTES) -> Iterator[bytes]:
    """Pieces joined by newlines. A body ends at `max_events`, before `max_bytes` (a larger event is sent alone), or
    when the stream pauses."""
    held: list[bytes] = []
    size = 0
    for piece in chain(pieces, (None,)):
        if held and (piece is None or size + len(piece) > max_bytes):
            yield b"\n".join(held)
            held, size = [], 0
        if piece is None:
            continue
        held.append(piece)
        size += len(piece) + 1
        if len(held) >= max_events:
            yield b"\n".join(held)
            held, size = [], 0


def _first_line(chunks: Pieces) -> bytes:
    """All chunks up to the one that ends the first line that is not blank."""
    head = bytearray()
    for chunk in chunks:
        head += chunk or b""
        if b"\n" in head.lstrip(_BLANK) or len(head) > MAX_INPUT_EVENT_BYTES:
            break
        if _EVENTS_OBJECT.match(head.lstrip(_BLANK)) or head.lstrip(_BLANK)[:1] == b"[":
            break
    return bytes(head)


def _with_head(head: bytes, chunks: Pieces) -> Pieces:
    yield head.removeprefix(_BOM)
    yield from chunks


def _lines(chunks: Pieces) -> Pieces:
    rest = bytearray()
    for chunk in chunks:
        if chunk is None:
            yield None
            continue
        rest += chunk
        *lines, last = rest.split(b"\n")
        for line in lines:
            if line.strip(_BLANK):
                yield bytes(line.rstrip(b"\r"))
        rest = last
        _bound(rest)
    if rest.strip(_BLANK):
        yield bytes(rest.rstrip(b"\r"))


def _values(chunks: Pieces) -> Pieces:
    splitter = _Splitter()
    for chunk in chunks:
        if chunk is None:
            yield None
            continue
        yield from splitter.feed(chunk)
        _bound(splitter.rest)
    yield from splitter.end()


def _bound(rest: bytearray) -> None:
    if len(rest) > MAX_INPUT_EVENT_BYTES:
        raise Rejected("event_too_large", f"an event is larger than {MAX_INPUT_EVENT_BYTES >> 20} MiB; remove it")


class _Splitter:
    """Splits JSON values by their brackets and strings alone.

    1. `rest` begins where the current piece begins; `_at` is how far it was scanned.
    2. `_depth` counts the brackets open at `_at`. A piece ends where it returns to `_floor`, which is above 0 inside an
       array of events only.
    3. `_closing`: the array of an `{"events": [...]}` object has ended, and the object's own `}` is still to come.
       Anything before it is a piece, so that the server rejects it; nothing is dropped silently.
    """

    def __init__(self) -> None:
        self.rest = bytearray()
        self._at = 0
        self._depth = 0
        self._floor = 0
        self._closing = False

    def feed(self, chunk: bytes, *, final: bool = False) -> Iterator[bytes]:
        self.rest += chunk
        start = 0
        while match := self._next(final):
            self._at = match.end()
            cut = self._turn(match)
            if cut is not None:
                if piece := bytes(self.rest[start : cut[0]]).strip(_BLANK):
                    yield _on_one_line(piece)
                start = self._at = cut[1]
        del self.rest[:start]
        self._at -= start

    def end(self) -> Iterator[bytes]:
        """The rest of an input that stops in the middle is a piece too, a broken one."""
        yield from self.feed(b"", final=True)
        if piece := bytes(self.rest).strip(_BLANK):
            yield _on_one_line(piece)

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


def _on_one_line(piece: bytes) -> bytes:
    """Line breaks between tokens become spaces; one inside a string becomes another character that JSON forbids."""
    if b"\n" not in piece:
        return piece
    return _STRINGS_AND_BREAKS.sub(lambda m: b" " if m[0] == b"\n" else m[0].replace(b"\n", b"\v"), piece)
