"""Compressed bytes to plain bytes, counted while they inflate.

In: the chunks of a body with its `Content-Encoding`. Out: the plain bytes of each chunk, at most `max_bytes` in all.
Errors: Rejected(unsupported_encoding, payload_too_large, invalid_encoding). Memory: what is returned, one window of
the codec (8 MiB at most, for zstd) and 16 KiB of input. Next: parsec.ingest.decode.
"""

import sys
import zlib
from collections.abc import Callable
from typing import Protocol

from parsec.core.errors import Rejected

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

INPUT_WINDOW = 16 << 10
"""Input is given to the codec in pieces of this size, so that the rest copied at the end of a member stays small."""

MAX_MEMBERS = 10_000
"""More gzip members or zstd frames than this in one body serve no purpose but to cost time."""

ZSTD_WINDOW_LOG_MAX = 23
"""8 MiB, the window that RFC 8878 asks every decoder to support. A frame may ask for gigabytes."""


class _Codec(Protocol):
    """One member or frame. `inflate` returns at most `limit` bytes, less when it needs input or has ended."""

    def inflate(self, data: bytes, limit: int) -> bytes: ...

    def rest(self) -> bytes:
        """Input that was given but not used."""

    def ended(self) -> bool: ...


class Inflater:
    """Feed each chunk as it arrives, then `finish` once."""

    def __init__(self, max_bytes: int, codec: Callable[[bytes], _Codec] | None) -> None:
        self._max_bytes = max_bytes
        self._start = codec
        self._codec: _Codec | None = None
        self._members = 0
        self._bytes = 0
        self._held = b""

    def feed(self, chunk: bytes) -> bytes | memoryview:
        """The plain bytes that this chunk completes."""
        if self._start is None:
            self._count(len(chunk))
            return chunk
        parts: list[bytes] = []
        view = memoryview(chunk)
        for at in range(0, len(chunk), INPUT_WINDOW):
            self._window(bytes(view[at : at + INPUT_WINDOW]), parts)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def finish(self) -> bytes:
        """Nothing, once the last member is complete; else Rejected(invalid_encoding)."""
        if self._held or (self._codec is not None and not self._codec.ended()):
            raise _damaged("it ends before it is complete")
        return b""

    def _window(self, data: bytes, parts: list[bytes]) -> None:
        data = self._held + data
        self._held = b""
        while data:
            codec = self._codec
            if codec is None or codec.ended():
                data = data.lstrip(b"\0") if self._members else data  # writers may pad between members
                if 0 < len(data) < 2:
                    self._held = data  # the first two bytes tell zlib from raw deflate
                    return
                if not data:
                    return
                codec = self._begin(data)
            try:
                part = codec.inflate(data, self._max_bytes - self._bytes + 1)
            except (zlib.error, zstd.ZstdError) as error:
                raise _damaged(str(error)) from error
            self._count(len(part))
            if part:
                parts.append(part)
            data = codec.rest()

    def _begin(self, data: bytes) -> _Codec:
        self._members += 1
        if self._members > MAX_MEMBERS:
            raise _damaged(f"it has more than {MAX_MEMBERS} members")
        assert self._start is not None
        self._codec = self._start(data)
        return self._codec

    def _count(self, size: int) -> None:
        self._bytes += size
        if self._bytes > self._max_bytes:
            raise Rejected(
                "payload_too_large",
                f"The body is larger than {self._max_bytes} bytes after decompression. Send fewer events per request.",
                status=413,
            )


class _Zlib:
    def __init__(self, wbits: int) -> None:
        self._inner = zlib.decompressobj(wbits)

    def inflate(self, data: bytes, limit: int) -> bytes:
        return self._inner.decompress(data, limit)

    def rest(self) -> bytes:
        return self._inner.unused_data or self._inner.unconsumed_tail

    def ended(self) -> bool:
        return self._inner.eof


class _Zstd:
    def __init__(self) -> None:
        options: dict[int, int] = {zstd.DecompressionParameter.window_log_max: ZSTD_WINDOW_LOG_MAX}
        self._inner = zstd.ZstdDecompressor(options=options)

    def inflate(self, data: bytes, limit: int) -> bytes:
        return self._inner.decompress(data, limit)

    def rest(self) -> bytes:
        return self._inner.unused_data if self._inner.eof else b""

    def ended(self) -> bool:
        return self._inner.eof


def _deflate(start: bytes) -> _Codec:
    """HTTP's deflate is zlib's format, but some clients send it bare; zlib's two-byte header checks itself."""
    wrapped = start[0] & 0x0F == 8 and int.from_bytes(start[:2], "big") % 31 == 0
    return _Zlib(zlib.MAX_WBITS if wrapped else -zlib.MAX_WBITS)


def inflater(encoding: str | None, max_bytes: int) -> Inflater:
    """For a `Content-Encoding`. Raises Rejected(unsupported_encoding)."""
    name = (encoding or "").strip().lower()
    if name in ("", "identity"):
        return Inflater(max_bytes, None)
    if name in ("gzip", "x-gzip"):
        return Inflater(max_bytes, lambda start: _Zlib(zlib.MAX_WBITS | 16))  # noqa: ARG005 (one signature for all)
    if name == "deflate":
        return Inflater(max_bytes, _deflate)
    if name == "zstd":
        return Inflater(max_bytes, lambda start: _Zstd())  # noqa: ARG005
    raise Rejected(
        "unsupported_encoding",
        f"Content-Encoding {name[:64]!r} is not supported. Send gzip, zstd, deflate, or no encoding.",
        field="Content-Encoding",
        status=415,
    )


def _damaged(why: str) -> Rejected:
    message = f"The body cannot be decompressed: {why}. Compress it again, or send it without Content-Encoding."
    return Rejected("invalid_encoding", message, field="Content-Encoding")
