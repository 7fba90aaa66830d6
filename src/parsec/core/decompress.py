"""One member of gzip, zlib or deflate data, or one frame of zstd: decompressed in parts of bounded size.

In: bytes in any pieces. Out: at most `limit` bytes a call. Errors: one of `errors()`. Next: parsec.ingest.body.inflate,
parsec.client.input_decoder.
"""

import sys
import zlib
from typing import Any, Protocol


class Codec(Protocol):
    """One member or frame. `inflate` returns at most `limit` bytes, less when it needs input or has ended."""

    def inflate(self, data: bytes, limit: int) -> bytes: ...

    def rest(self) -> bytes:
        """Input that was given but not used."""

    def ended(self) -> bool: ...


class Zlib:
    """`wbits` selects the format, as in the module zlib."""

    def __init__(self, wbits: int) -> None:
        self._inner = zlib.decompressobj(wbits)

    def inflate(self, data: bytes, limit: int) -> bytes:
        return self._inner.decompress(data, limit)

    def rest(self) -> bytes:
        return self._inner.unused_data or self._inner.unconsumed_tail

    def ended(self) -> bool:
        return self._inner.eof


class Zstd:
    """A frame that needs a window of more than 2 to the power of `window_log_max` bytes is refused."""

    def __init__(self, window_log_max: int) -> None:
        module = _zstd()
        options: dict[int, int] = {module.DecompressionParameter.window_log_max: window_log_max}
        self._inner = module.ZstdDecompressor(options=options)

    def inflate(self, data: bytes, limit: int) -> bytes:
        part: bytes = self._inner.decompress(data, limit)
        return part

    def rest(self) -> bytes:
        return bytes(self._inner.unused_data) if self._inner.eof else b""

    def ended(self) -> bool:
        return bool(self._inner.eof)


def gzip_member() -> Codec:
    return Zlib(zlib.MAX_WBITS | 16)


def errors() -> tuple[type[Exception], ...]:
    """The exceptions that a codec raises for damaged data."""
    return (zlib.error, _zstd().ZstdError)


def _zstd() -> Any:
    # Late: the client library works without this package until it meets zstd.
    if sys.version_info >= (3, 14):
        from compression import zstd
    else:
        from backports import zstd
    return zstd
