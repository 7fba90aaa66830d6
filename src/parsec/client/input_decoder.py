"""Decompresses and decodes an input: gzip, zstd, UTF-16, UTF-32, or plain UTF-8.

In: the chunks of a BodySource. Out: chunks of UTF-8; plain input is not checked. The first bytes decide, not the name.
Errors: Rejected(not_text) for any other binary data, before anything is sent. A truncated or damaged input ends the
chunks, and `problem` says why. Memory: one chunk and one window of the codec, at most 128 MiB for zstd. Next:
parsec.client.body_splitter.
"""

import codecs
from collections.abc import Callable, Iterator
from itertools import chain

from parsec.client.binary_types import HEAD_BYTES, binary_type
from parsec.core.decompress import Codec, Zstd, errors, gzip_member
from parsec.core.errors import Rejected

Chunks = Iterator[bytes | None]
"""None when the input pauses."""

_PART_BYTES = 8 << 10
"""Inflated at once, and so the most that a wrong checksum costs."""
_WINDOW_BYTES = 4 << 10
"""Input for the codec at once, so that the rest copied at the end of a member stays small."""
_ZSTD_WINDOW_LOG = 27
_GZIP, _ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"
_ZSTD_SKIPPABLE = tuple(bytes((0x50 + kind,)) + b"\x2a\x4d\x18" for kind in range(16))
_CODECS: tuple[tuple[tuple[bytes, ...], str, Callable[[], Codec]], ...] = (
    ((_GZIP,), "gzip", gzip_member),
    ((_ZSTD, *_ZSTD_SKIPPABLE), "zstd", lambda: Zstd(_ZSTD_WINDOW_LOG)),
)
_BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),  # before UTF-16's, which it begins with
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_MARKS = (_GZIP, _ZSTD, *_ZSTD_SKIPPABLE, *(mark for mark, _ in _BYTE_ORDER_MARKS))


class InputDecoder:
    """One input. `problem`: why it could not be read to its end, or ''; valid once `chunks` has ended."""

    def __init__(self, chunks: Chunks, *, is_text: bool = False) -> None:
        """`is_text`: the user says that it is text; only types that are certain are refused."""
        self._chunks = chunks
        self._is_text = is_text
        self.problem = ""

    def chunks(self) -> Chunks:
        """Raises Rejected(not_text)."""
        head, chunks = _peek(self._read())
        for marks, name, start in _CODECS:
            if head.startswith(marks):
                head, chunks = _peek(self._inflated(chunks, _Members(marks, name, start)))
                break
        encoding = next((name for mark, name in _BYTE_ORDER_MARKS if head.startswith(mark)), None)
        if encoding is not None:
            yield from self._decoded(chunks, encoding)
            return
        found = binary_type(head, named_only=self._is_text)
        if found is not None:
            raise Rejected("not_text", f"it looks like {found.name}, which cannot be sent; {found.remedy}")
        yield from chunks

    def _read(self) -> Chunks:
        try:
            yield from self._chunks
        except OSError as error:
            self.problem = f"reading failed: {error.strerror or error}"

    def _inflated(self, chunks: Chunks, members: "_Members") -> Chunks:
        for chunk in chunks:
            if chunk is None:
                yield None
                continue
            for at in range(0, len(chunk), _WINDOW_BYTES):
                yield from members.feed(chunk[at : at + _WINDOW_BYTES])
                if members.problem:
                    self.problem = members.problem
                    return
        self.problem = self.problem or members.end()

    def _decoded(self, chunks: Chunks, encoding: str) -> Chunks:
        decoder = codecs.getincrementaldecoder(encoding)("replace")
        for chunk in chunks:
            yield None if chunk is None else decoder.decode(chunk).encode()
        rest = decoder.decode(b"", final=True)
        if rest:
            self.problem = self.problem or f"the {encoding.upper()} text ends in the middle of a character"
            yield rest.encode()


class _Members:
    """Gzip members or zstd frames, one after the other. `problem`: why no more can be read."""

    def __init__(self, marks: tuple[bytes, ...], name: str, start: Callable[[], Codec]) -> None:
        self._marks = marks
        self._name = name
        self._start = start
        self._codec: Codec | None = start()
        self._held = b""
        self.problem = ""

    def feed(self, data: bytes) -> Iterator[bytes]:
        data = self._held + data
        self._held = b""
        while data and not self.problem:
            if self._codec is None:
                data = data.lstrip(b"\0")  # writers may pad between members
                self._codec = self._next(data) if data else None
            codec = self._codec
            if codec is None:
                return
            try:
                yield from _parts(codec, data)
            except errors() as error:
                self.problem = f"the {self._name} data is damaged ({error}); everything before the damage was sent"
                return
            data = codec.rest() if codec.ended() else b""
            self._codec = None if codec.ended() else codec

    def _next(self, data: bytes) -> Codec | None:
        """The codec of the member that begins here; None: there is none, or more bytes are needed to see one."""
        if data.startswith(self._marks):
            return self._start()
        if any(mark.startswith(data) for mark in self._marks):
            self._held = data
        else:
            self.problem = f"the data after the {self._name} data is in another format, and was not sent"
        return None

    def end(self) -> str:
        """The problem of input that ends here, or ''."""
        whole = self._codec is None and not self._held
        return "" if whole else f"the {self._name} data is truncated; everything before its end was sent"


def _parts(codec: Codec, data: bytes) -> Iterator[bytes]:
    """What `data` inflates to."""
    while True:
        part = codec.inflate(data, _PART_BYTES)
        if part:
            yield part
        data = codec.rest()
        if codec.ended() or (not data and len(part) < _PART_BYTES):
            return


def _peek(chunks: Chunks) -> tuple[bytes, Chunks]:
    """The first bytes, and all chunks and pauses. As many bytes as come before the input pauses, unless they may be the
    beginning of a mark."""
    head = b""
    for chunk in chunks:
        if chunk is None and head and not any(mark != head and mark.startswith(head) for mark in _MARKS):
            return head, chain((head, None), chunks)
        head += chunk or b""
        if len(head) >= HEAD_BYTES:
            break
    return head, chain((head,) if head else (), chunks)
