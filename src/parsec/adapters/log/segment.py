"""A segment file: `<first offset, 20 digits>.log`, a header, then frames in order of offset.

In: the log's id, the first offset. Out: a file with a header; the id in the header of an existing one. Errors: OSError.
Next: parsec.adapters.log.frame.
"""

import struct
from pathlib import Path

import google_crc32c
import msgspec

from parsec.adapters.log.files import READ_ERRORS, Files

SEGMENT_SUFFIX = ".log"
NEW_SUFFIX = ".new"
"""Of a segment being created: it gets its name once its header is durable, so that a bad header is always damage."""
SEGMENT_VERSION = 1

_MAGIC = b"\xffPARSEC\x00"
_BODY = struct.Struct("<8sH6x16sQ")
_SUM = struct.Struct("<I4x")
SEGMENT_HEADER_BYTES = _BODY.size + _SUM.size


class Segment(msgspec.Struct, eq=False):
    """A segment of the running log. Bytes up to `size` are durable; the rest of the file is not part of the log.

    `deleted`: no longer one of the log's segments.
    """

    first: int
    path: Path
    size: int
    closed_ns: int
    deleted: bool = False


def file_name(first: int) -> str:
    return f"{first:020d}{SEGMENT_SUFFIX}"


def first_offset(name: str) -> int | None:
    """The first offset in a segment's name; None for another file."""
    stem = name.removesuffix(SEGMENT_SUFFIX)
    return int(stem) if stem != name and len(stem) == 20 and stem.isascii() and stem.isdigit() else None


def pack_header(log_id: str, first: int) -> bytes:
    body = _BODY.pack(_MAGIC, SEGMENT_VERSION, bytes.fromhex(log_id), first)
    return body + _SUM.pack(google_crc32c.value(body))


def unpack_header(data: bytes) -> tuple[str, int] | None:
    """(log id, first offset); None when damaged or of another version."""
    if len(data) < SEGMENT_HEADER_BYTES or _SUM.unpack_from(data, _BODY.size)[0] != google_crc32c.value(
        data[: _BODY.size]
    ):
        return None
    magic, version, log_id, first = _BODY.unpack_from(data)
    return (log_id.hex(), first) if magic == _MAGIC and version == SEGMENT_VERSION else None


def create(files: Files, directory: Path, log_id: str, first: int) -> int:
    """A new segment, durable with its name; replaces one of the same name, which then held no durable frame."""
    path = directory / file_name(first)
    new = path.with_suffix(NEW_SUFFIX)
    fd = files.create(new)
    try:
        header = pack_header(log_id, first)
        if files.write(fd, [header], 0) != len(header):
            raise OSError("the header of a segment was written only in part")
        files.sync(fd)
        files.rename(new, path)
        files.sync_directory(directory)
    except BaseException:
        files.close(fd)
        raise
    return fd


def read_log_id(files: Files, fd: int, first: int) -> str | None:
    """The id of the log that an open segment belongs to; None when its header is unreadable or not that of `first`."""
    try:
        found = unpack_header(files.read(fd, SEGMENT_HEADER_BYTES, 0))
    except OSError as error:
        if error.errno not in READ_ERRORS:
            raise
        return None
    return found[0] if found and found[1] == first else None


def log_id_of(files: Files, path: Path, first: int) -> str | None:
    """The same for a file that is not open."""
    fd = files.open(path)
    try:
        return read_log_id(files, fd, first)
    finally:
        files.close(fd)
