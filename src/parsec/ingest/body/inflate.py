"""Decompress a body in small parts, and count its bytes on the way.

In: the chunks of a body with its `Content-Encoding`. Out: the plain bytes of each chunk in parts, on demand, at most
`max_bytes` in all. Errors: Rejected(unsupported_encoding, payload_too_large, invalid_encoding). Memory: one part, one
window of the codec (at most 8 MiB, for zstd) and 4 KiB of input. Next: parsec.ingest.body.decode.
"""

import zlib
from collections.abc import Callable, Iterator

from parsec.core.decompress import Codec, Zlib, Zstd, errors, gzip_member
from parsec.core.errors import Rejected

INPUT_WINDOW = 4 << 10
"""Input is given to the codec in pieces of this size, so that the rest copied at the end of a member stays small."""

PART_BYTES = 64 << 10
"""Plain bytes in one part, at most, so that other requests have a turn between two parts."""

SWELLS_FROM_BYTES, SWELLS_TIMES = 128 << 10, 32
"""Logs compress to about a tenth. A body larger than so many bytes and so many times its input may be a bomb."""

MAX_MEMBERS = 10_000
"""Gzip members or zstd frames in one body. More serve no purpose but to cost time."""

ZSTD_WINDOW_LOG_MAX = 23
"""8 MiB, the window that RFC 8878 asks every decoder to support. A frame may ask for gigabytes."""
_ERRORS = errors()


class Inflater:
    """Feed each chunk as it arrives, then `finish` once."""

    def __init__(self, max_bytes: int, codec: Callable[[bytes], Codec] | None) -> None:
        self._max_bytes = max_bytes
        self._start = codec
        self._codec: Codec | None = None
        self._members = 0
        self._bytes = 0
        self._bytes_in = 0
        self._held = b""

    def swells(self) -> bool:
        """Whether this may be a decompression bomb, which has to wait for its turn."""
        return self._bytes > SWELLS_FROM_BYTES and self._bytes > SWELLS_TIMES * self._bytes_in

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        """The plain bytes that this chunk completes, to be taken before the next chunk is fed."""
        if self._start is None:
            self._count(len(chunk))
            yield chunk
            return
        view = memoryview(chunk)
        for at in range(0, len(chunk), INPUT_WINDOW):
            yield from self._window(bytes(view[at : at + INPUT_WINDOW]))

    def finish(self) -> None:
        """Raises Rejected(invalid_encoding) unless the last member is complete."""
        if self._held or (self._codec is not None and not self._codec.ended()):
            raise _damaged("it ends before it is complete")

    def _window(self, data: bytes) -> Iterator[bytes]:
        self._bytes_in += len(data)  # what inflates to nothing is work, too
        self._check(self._bytes_in)
        data = self._held + data
        self._held = b""
        full = False  # the codec may hold more than it could return
        while data or full:
            codec = self._codec
            if codec is None or codec.ended():
                data = data.lstrip(b"\0") if self._members else data  # writers may pad between members
                if 0 < len(data) < 2:
                    self._held = data  # the first two bytes tell zlib from raw deflate
                    return
                if not data:
                    return
                codec = self._begin(data)
            limit = min(PART_BYTES, self._max_bytes - self._bytes + 1)
            try:
                part = codec.inflate(data, limit)
            except _ERRORS as error:
                raise _damaged(str(error)) from error
            self._count(len(part))
            full = len(part) == limit and not codec.ended()
            data = codec.rest()
            if part:
                yield part

    def _begin(self, data: bytes) -> Codec:
        self._members += 1
        if self._members > MAX_MEMBERS:
            raise _damaged(f"it has more than {MAX_MEMBERS} members")
        assert self._start is not None
        self._codec = self._start(data)
        return self._codec

    def _count(self, size: int) -> None:
        self._bytes += size
        self._check(self._bytes)

    def _check(self, size: int) -> None:
        if size > self._max_bytes:
            raise too_large(self._max_bytes)


def _deflate(start: bytes) -> Codec:
    """HTTP's deflate is zlib's format, but some clients send it bare; zlib's two-byte header checks itself."""
    wrapped = start[0] & 0x0F == 8 and int.from_bytes(start[:2], "big") % 31 == 0
    return Zlib(zlib.MAX_WBITS if wrapped else -zlib.MAX_WBITS)


def inflater(encoding: str | None, max_bytes: int) -> Inflater:
    """For a `Content-Encoding`. Raises Rejected(unsupported_encoding)."""
    name = (encoding or "").strip().lower()
    if name in ("", "identity"):
        return Inflater(max_bytes, None)
    if name in ("gzip", "x-gzip"):
        return Inflater(max_bytes, lambda start: gzip_member())  # noqa: ARG005 (one signature for all)
    if name == "deflate":
        return Inflater(max_bytes, _deflate)
    if name == "zstd":
        return Inflater(max_bytes, lambda start: Zstd(ZSTD_WINDOW_LOG_MAX))  # noqa: ARG005
    raise Rejected(
        "unsupported_encoding",
        f"Content-Encoding {name[:64]!r} is not supported. Send gzip, zstd, deflate, or no encoding.",
        field="Content-Encoding",
        status=415,
    )


def too_large(limit: int) -> Rejected:
    """Of a body, before it is read as well as while it inflates."""
    message = f"The body is larger than {limit} bytes, before or after decompression. Send less at once."
    return Rejected("payload_too_large", message, status=413)


def _damaged(why: str) -> Rejected:
    message = f"The body cannot be decompressed: {why}. Compress it again, or send it without Content-Encoding."
    return Rejected("invalid_encoding", message, field="Content-Encoding")
