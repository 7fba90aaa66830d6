"""One segment file: `<first offset, 20 digits>.log`, a header, then frames in order of offset.

In: a descriptor, and how far its bytes may be read. Out: valid frames in order; the bytes between them are reported as
damage. Errors: Retryable while the disk does not return the bytes. Next: parsec.adapters.log.reader.
"""

import errno
import struct
from collections.abc import Callable
from pathlib import Path

import google_crc32c
import msgspec

from parsec.adapters.log import frame
from parsec.adapters.log.files import Files
from parsec.adapters.log.frame import FrameHeader, Records
from parsec.core.errors import Retryable

SEGMENT_SUFFIX = ".log"
NEW_SUFFIX = ".new"
"""Of a segment being created: it gets its name once its header is durable, so that a bad header is always damage."""
SEGMENT_VERSION = 1

_MAGIC = b"\xffPARSEC\x00"
_BODY = struct.Struct("<8sH6x16sQ")
_SUM = struct.Struct("<I4x")
SEGMENT_HEADER_BYTES = _BODY.size + _SUM.size

_READ_BYTES = 1 << 20
_PAGE = 4096
READ_ATTEMPTS = 3
"""Failed reads of one place before its unreadable pages are given up as damaged."""

READ_ERRORS = frozenset({errno.EIO, errno.EBADMSG, getattr(errno, "EUCLEAN", errno.EIO)})
"""Errors of a disk that has lost bytes. Any other error is temporary and no reason to give up data."""


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


class Frame(msgspec.Struct, frozen=True, gc=False):
    """A valid frame: its events have the offsets first..first+count-1. `ends_at` is the byte after it.

    All offsets below `began`, where its publish started, were durable before it was written.
    """

    began: int
    first: int
    count: int
    payload: bytes
    ends_at: int


class FrameCursor:
    """Reads the frames of an open segment from byte `position`, whose first event has offset `expected` or more.

    `on_damage(from_byte, to_byte)` is called once for bytes that are no valid frame. `seed`: of the log's checksums.
    """

    def __init__(
        self,
        files: Files,
        fd: int,
        seed: int,
        position: int,
        expected: int,
        on_damage: Callable[[int, int], None] | None = None,
    ) -> None:
        self.position = position
        self._files = files
        self._fd = fd
        self._seed = seed
        self._expected = expected
        self._on_damage = on_damage
        self._buffer = b""
        self._buffer_at = position
        self._failed_reads = 0

    def next(self, limit: int, end: int) -> Frame | None:
        """The next valid frame below byte `limit` and offset `end`; None when there is none."""
        while self.position < limit and self._expected < end:
            header = self._read_header(limit, end)
            if header is None:
                self._find_header(limit, end)
                continue
            begin = self.position
            ends_at = begin + header.size
            loaded = ends_at <= limit and self._load(header.size, limit)
            payload = frame.read_payload(header, self._buffer, begin - self._buffer_at) if loaded else None
            self.position = min(ends_at, limit)
            if payload is None:
                self._report_damage(begin)
                continue
            self._expected = header.end
            return Frame(header.first - header.back, header.first, header.count, payload, ends_at)
        return None

    def records(self, limit: int, end: int, max_events: int, max_bytes: int) -> Records | None:
        """Like `next`, but the records of all frames that are in memory and wanted; of at least one frame."""
        if self._load(frame.FRAME_HEADER_BYTES, limit):
            at = self.position - self._buffer_at
            found = frame.read_records(self._seed, self._buffer, at, self._expected, (max_events, max_bytes, end))
            if found:
                self.position = self._buffer_at + found.ends_at
                self._expected += len(found.values)
                return found
        one = self.next(limit, end)
        return Records(one.first, frame.split_values(one.payload, one.count), len(one.payload)) if one else None

    def _read_header(self, limit: int, end: int) -> FrameHeader | None:
        if not self._load(frame.FRAME_HEADER_BYTES, limit):
            return None
        header = frame.read_header(self._seed, self._buffer, self.position - self._buffer_at)
        return header if header and self._expected <= header.first and header.count and header.end <= end else None

    def _find_header(self, limit: int, end: int) -> None:
        """Moves to the next valid header, or to `limit`, and reports the bytes in between."""
        begin = self.position
        self.position += 1
        while self._load(frame.FRAME_HEADER_BYTES, limit):
            at = self._buffer.find(frame.MAGIC, self.position - self._buffer_at)
            if at < 0:
                # The last bytes of the buffer may be the first of a magic.
                self.position = self._buffer_at + len(self._buffer) - len(frame.MAGIC) + 1
                continue
            self.position = self._buffer_at + at
            if self._read_header(limit, end):
                self._report_damage(begin)
                return
            self.position += 1
        self.position = limit
        self._report_damage(begin)

    def _report_damage(self, begin: int) -> None:
        if self._on_damage:
            self._on_damage(begin, self.position)

    def _load(self, need: int, limit: int) -> bool:
        """Reads until the buffer has `need` bytes from the position on; False when there are fewer below `limit`."""
        at = self.position - self._buffer_at
        if at >= 0 and at + need <= len(self._buffer):
            return True
        if self.position + need > limit:
            return False
        size = min(max(need, _READ_BYTES), limit - self.position)
        try:
            self._buffer = self._files.read(self._fd, size, self.position)
        except OSError as error:
            # Only errors that mean lost bytes count: giving up on a temporary one would lose valid events.
            self._failed_reads += error.errno in READ_ERRORS
            if self._failed_reads < READ_ATTEMPTS:
                raise Retryable(f"a segment of the log cannot be read: {error.strerror}") from error
            self._buffer = self._read_pages(size)
        self._failed_reads = 0
        self._buffer_at = self.position
        return need <= len(self._buffer)

    def _read_pages(self, size: int) -> bytes:
        """Reads page by page; an unreadable page becomes zeros, which no checksum accepts."""
        pages = []
        for at in range(self.position, self.position + size, _PAGE):
            length = min(_PAGE, self.position + size - at)
            try:
                pages.append(self._files.read(self._fd, length, at))
            except OSError:
                pages.append(bytes(length))
        return b"".join(pages)
