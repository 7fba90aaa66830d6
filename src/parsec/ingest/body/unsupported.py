"""Recognises bodies that are not JSON in UTF-8 at all: compressed without a header, UTF-16, protobuf, other formats.

In: a body. Out: the error that names the format and the remedy; None if it may be text. Errors: none. Next:
parsec.ingest.body.decode.

A body in which one of the first lines is JSON is none of these: a bad line must not decide about those after it.
"""

import re
import zlib

import msgspec

from parsec.core.errors import Rejected
from parsec.ingest.body.fast_path import UNREADABLE
from parsec.ingest.body.scan import next_object

_DECODED = {"gzip": b"\x1f\x8b\x08", "zstd": b"\x28\xb5\x2f\xfd"}
_OTHER = {
    "snappy": b"\xff\x06\x00\x00sNaPpY", "lz4": b"\x04\x22\x4d\x18", "xz": b"\xfd7zXZ\x00", "bzip2": b"BZh91AY&SY",
    "zip": b"PK\x03\x04", "Parquet": b"PAR1", "Avro": b"Obj\x01",
}  # fmt: skip
_UTF_16 = re.compile(  # or UTF-32; the first character is ASCII in JSON and in most logs
    rb"(?:\xff\xfe(?:\0\0)?)?[\t-~]\0|(?:(?:\0\0)?\xfe\xff)?\0(?:\0\0)?[\t-~]"
)
_BINARY = re.compile(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f]")
_ANY = msgspec.json.Decoder(msgspec.Raw)
_LOOKED_AT_BYTES = 1024
_MAX_TRIED_LINES = 3
_MAX_FIELDS = 1000
_FIXED_BYTES = {1: 8, 5: 4}


def unsupported_body(body: bytes) -> Rejected | None:
    """The error for a body that is not JSON in UTF-8, where that is certain."""
    error = _by_magic(body) or _by_content(body)
    return None if error is not None and _has_json_line(body) else error


def _has_json_line(body: bytes) -> bool:
    """Whether one of the first few lines that begin like JSON is JSON, or begins a value in pretty-printed form."""
    at = 0
    for _ in range(_MAX_TRIED_LINES):
        at = next_object(body, at, len(body))
        end = body.find(b"\n", at)
        line = body[at : end if end >= 0 else len(body)].strip()
        try:
            if line in (b"{", b"["):
                return True
            _ANY.decode(line)
        except UNREADABLE:
            continue
        return True
    return False


def _by_magic(body: bytes) -> Rejected | None:
    for name, magic in _DECODED.items():
        if body.startswith(magic):
            return _unnamed(name)
    if _is_zlib(body):
        return _unnamed("deflate")
    other = next((name for name, magic in _OTHER.items() if body.startswith(magic)), None)
    if other:
        return _unsupported(f"The body is in the format {other}")
    if _UTF_16.match(body):
        return Rejected("invalid_utf8", "The body is in UTF-16 or UTF-32; encode it as UTF-8.")
    return None


def _by_content(body: bytes) -> Rejected | None:
    head = body[:_LOOKED_AT_BYTES]
    if not _BINARY.search(head) and not _is_not_utf8(head):
        return None
    if _is_protobuf(body):
        return _unsupported("The body is protobuf, such as OTLP or Loki send it")
    if body[0] in range(0x80, 0xA0) or body[0] in range(0xDC, 0xE0):
        return _unsupported("The body looks like MessagePack")
    if not _BINARY.search(head):
        return None  # text in some one-byte encoding: each line has a verdict
    return Rejected(
        "invalid_utf8",
        f"The body is binary (it begins with 0x{body[:4].hex()}), perhaps compressed with brotli or snappy, which "
        "Parsec does not read; send JSON in UTF-8, plain or with Content-Encoding gzip, zstd or deflate.",
    )


def _unnamed(encoding: str) -> Rejected:
    why = (
        f"The body is compressed with {encoding}, and the request does not say so; add the header "
        f"`Content-Encoding: {encoding}`, or send it uncompressed. If it has the header, it was compressed twice."
    )
    return Rejected("invalid_encoding", why, field="Content-Encoding")


def _unsupported(what: str) -> Rejected:
    why = (
        f"{what}, which Parsec does not read; send JSON in UTF-8, plain or with Content-Encoding gzip, zstd or deflate."
    )
    return Rejected("unsupported_encoding", why, status=415)


def _is_zlib(body: bytes) -> bool:
    """The header of two bytes checks itself, but may be text, as "x^": what follows must inflate, too."""
    if body[0] & 0x0F != 8 or int.from_bytes(body[:2], "big") % 31:
        return False
    try:
        return zlib.decompressobj().decompress(body[:_LOOKED_AT_BYTES], 64) != b""
    except zlib.error:
        return False


def _is_not_utf8(head: bytes) -> bool:
    try:
        head.decode()
    except UnicodeDecodeError as error:
        return error.start < len(head) - 3  # a character may be cut at the end
    return False


def _is_protobuf(body: bytes) -> bool:
    """Whether the body is fields of the wire format up to its last byte, a nested message or text among them."""
    at = fields = nested = 0
    while at < len(body) and fields < _MAX_FIELDS:
        tag, at = _varint(body, at)
        kind = tag & 7
        if tag >> 3 == 0:
            return False
        if kind == 0:
            _, at = _varint(body, at)
        elif kind == 2:
            size, at = _varint(body, at)
            at += size
            nested += 1
        elif kind in _FIXED_BYTES:
            at += _FIXED_BYTES[kind]
        else:
            return False
        fields += 1
    return nested > 0 and (at == len(body) or fields == _MAX_FIELDS)


def _varint(body: bytes, at: int) -> tuple[int, int]:
    """The number at a position, and the position after it; beyond the body where it is cut or too long."""
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(body):
            break
        byte = body[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    return 0, len(body) + 1
