"""Splits a stream of any length into request bodies, in constant memory.

In: bytes of JSON lines, of one or several JSON values in any layout (an array, `{"events": [...]}`, `{"Records":
[...]}`, pretty-printed objects), or plain text lines. Out: pieces, each an event with the line on which it begins, its
bytes unchanged; and batches of them, limited in number and bytes. A broken event passes through unchanged too; the
server rejects it. Errors: a line that is too long becomes a fault; Rejected(event_too_large) for a value that is too
long and spans lines, because the beginning of the next one is unknown. Next: parsec.client.json_splitter,
parsec.client.client.
"""

import io
import os
import select
import stat
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from typing import BinaryIO, Literal

import msgspec

from parsec.client.input_decoder import Chunks
from parsec.client.json_splitter import BLANK, EVENTS_OBJECT, JsonSplitter, Piece
from parsec.core.errors import Rejected

Kind = Literal["text", "json"]

MAX_INPUT_EVENT_BYTES = 16 << 20
MAX_INPUT_VALUE_BYTES = 64 << 20
"""The same for a JSON value that may hold many events, such as a file of audit records."""
MAX_BODY_BYTES = 4 << 20
_CHUNK_BYTES = 1 << 16
_SHORT_LIST_BYTES = 1 << 20
_IDLE_S = 0.5
_BOM = b"\xef\xbb\xbf"

Pieces = Iterator[Piece | None]
"""None when the stream pauses."""


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
        found = self._file_status()
        return None if found is None else found.st_size

    @property
    def modified_ns(self) -> int | None:
        """When a regular file was changed last; None for a pipe."""
        found = self._file_status()
        return None if found is None else found.st_mtime_ns

    def _file_status(self) -> os.stat_result | None:
        found = None if self._descriptor is None else os.fstat(self._descriptor)
        return found if found is not None and stat.S_ISREG(found.st_mode) else None

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


def kind_of(head: bytes) -> Kind:
    """JSON when it begins like an object or an array of objects or arrays; "[2026-01-01] started" is text."""
    head = head.lstrip(_BOM + BLANK)
    if head[:1] == b"[":
        return "json" if head[1:].lstrip(BLANK)[:1] in (b"{", b"[", b"]", b"") else "text"
    return "json" if head[:1] == b"{" else "text"


def _one_a_line(head: bytes) -> bool:
    """Whether newlines separate the values: unless the first line is an array or clearly unfinished. Then a bad line
    harms no other line, as unbalanced brackets would."""
    first = head.lstrip(_BOM + BLANK).partition(b"\n")[0].rstrip(BLANK)
    if EVENTS_OBJECT.match(first):
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
        if not head[begin : begin + 1].strip(_BOM + BLANK):
            begin = searched = len(head) - len(head.lstrip(_BOM + BLANK))
        if head.find(b"\n", searched) >= 0 or head.startswith(b"[", begin) or len(head) > MAX_INPUT_VALUE_BYTES:
            break
        if len(head) > _SHORT_LIST_BYTES and EVENTS_OBJECT.match(head, begin):
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
                if line.strip(BLANK) and not skipping:
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
    splitter = JsonSplitter()
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
