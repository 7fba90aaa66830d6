"""One segment file: `<first offset, 20 digits>.log`, a header, then frames in order of offset.

In: a descriptor and how far its bytes may be read. Out: sound frames, in order; what lies between them is reported as
damage and never raised. Errors: Retryable while the disk does not give the bytes. Next: parsec.adapters.log.reader.
"""

import errno
import struct
from collections.abc import Callable
from pathlib import Path

import google_crc32c
import msgspec

from parsec.adapters.log import frame
from parsec.adapters.log.files import Files
from parsec.core.errors import Retryable

SUFFIX = ".log"
FRESH = ".new"
"""A segment being made; it gets its name once its header is durable, so a bad header is always damage."""
VERSION = 1

_MAGIC = b"\xffPARSEC\x00"
_BODY = struct.Struct("<8sH6x16sQ")
_SUM = struct.Struct("<I4x")
HEADER_BYTES = _BODY.size + _SUM.size

_READ_BYTES = 1 << 20
_PAGE = 4096
PATIENCE = 3
"""Failed reads of one place before its unreadable pages are given up as damaged."""

UNREADABLE = frozenset({errno.EIO, errno.EBADMSG, getattr(errno, "EUCLEAN", errno.EIO)})
"""What a disk says of bytes that are gone; any other error is a passing one and no reason to give up data."""


class Segment(msgspec.Struct, eq=False):
    """A segment as the running log knows it: bytes up to `size` are durable, the rest of the file is nobody's."""

    first: int
    path: Path
    size: int
    closed_ns: int


def file_name(first: int) -> str:
    return f"{first:020d}{SUFFIX}"


def first_of(name: str) -> int | None:
    """The first offset a segment's name gives; None for another file."""
    stem = name.removesuffix(SUFFIX)
    return int(stem) if stem != name and len(stem) == 20 and stem.isascii() and stem.isdigit() else None


def pack_header(log_id: str, first: int) -> bytes:
    body = _BODY.pack(_MAGIC, VERSION, bytes.fromhex(log_id), first)
    return body + _SUM.pack(google_crc32c.value(body))


def unpack_header(data: bytes) -> tuple[str, int] | None:
    """(log id, first offset); None when damaged or of another version."""
    if len(data) < HEADER_BYTES or _SUM.unpack_from(data, _BODY.size)[0] != google_crc32c.value(data[: _BODY.size]):
        return None
    magic, version, log_id, first = _BODY.unpack_from(data)
    return (log_id.hex(), first) if magic == _MAGIC and version == VERSION else None


def create(files: Files, directory: Path, log_id: str, first: int) -> int:
    """A new segment, durable with its name; replaces one of the same name, which then held no durable frame."""
    path = directory / file_name(first)
    fresh = path.with_suffix(FRESH)
    fd = files.create(fresh)
    try:
        header = pack_header(log_id, first)
        if files.write(fd, [header], 0) != len(header):
            raise OSError("the header of a segment was written in part only")
        files.sync(fd)
        files.rename(fresh, path)
        files.sync_directory(directory)
    except BaseException:
        files.close(fd)
        raise
    return fd


def belongs(files: Files, fd: int, log_id: str, first: int) -> bool:
    """Whether an open file has the sound header of this log's segment; False also when the disk cannot read it."""
    try:
        return unpack_header(files.read(fd, HEADER_BYTES, 0)) == (log_id, first)
    except OSError as error:
        if error.errno not in UNREADABLE:
            raise
        return False


def log_id_of(files: Files, path: Path, first: int) -> str | None:
    """The log that a segment belongs to; None when its header is unreadable or does not fit its name."""
    fd = files.open(path)
    try:
        found = unpack_header(files.read(fd, HEADER_BYTES, 0))
    except OSError as error:
        if error.errno not in UNREADABLE:
            raise
        return None
    finally:
        files.close(fd)
    return found[0] if found and found[1] == first else None


class Values(msgspec.Struct, frozen=True, gc=False):
    """Values from offset `first` on; without values: nothing is held below `first`. `size` in bytes."""

    first: int
    values: list[bytes]
    size: int


class Frame(msgspec.Struct, frozen=True, gc=False):
    """A sound frame: its events have the offsets first..first+count-1. `ends_at` is the byte after it.

    Everything below offset `began`, where its publish began, was durable before it was written.
    """

    began: int
    first: int
    count: int
    payload: bytes
    ends_at: int


class FrameCursor:
    """Walks the frames of an open segment from byte `position`, whose first event has offset `expected` or more.

    `on_damage(from_byte, to_byte)` hears of every stretch that is no sound frame, once. `start` is the log's seed.
    """

    def __init__(
        self,
        files: Files,
        fd: int,
        start: int,
        position: int,
        expected: int,
        on_damage: Callable[[int, int], None] | None = None,
    ) -> None:
        self.position = position
        self._files = files
        self._fd = fd
        self._start = start
        self._expected = expected
        self._on_damage = on_damage
        self._buffer = b""
        self._buffer_at = position
        self._refused = 0

    def next(self, limit: int, end: int) -> Frame | None:
        """The next sound frame below byte `limit` and offset `end`; None when there is none up to there."""
        while self.position < limit and self._expected < end:
            claim = self._claim(limit, end)
            if claim is None:
                self._resynchronise(limit, end)
                continue
            begin = self.position
            ends_at = begin + claim.size
            whole = ends_at <= limit and self._load(claim.size, limit)
            payload = frame.decode(claim, self._buffer, begin - self._buffer_at) if whole else None
            self.position = min(ends_at, limit)
            if payload is None:
                self._report(begin)
                continue
            self._expected = claim.end
            return Frame(claim.first - claim.back, claim.first, claim.count, payload, ends_at)
        return None

    def values(self, limit: int, end: int, max_events: int, max_bytes: int) -> Values | None:
        """Like `next`, but the values of as many frames as are in memory and wanted, one frame at least."""
        at = self.position - self._buffer_at
        if 0 <= at < len(self._buffer):
            run = frame.run(self._start, self._buffer, at, self._expected, (max_events, max_bytes, end))
            if run:
                self.position = self._buffer_at + run.ends_at
                self._expected += len(run.values)
                return Values(run.first, run.values, run.size)
        found = self.next(limit, end)
        return Values(found.first, frame.lines(found.payload, found.count), len(found.payload)) if found else None

    def _claim(self, limit: int, end: int) -> frame.Claim | None:
        if not self._load(frame.HEADER_BYTES, limit):
            return None
        claim = frame.claim(self._start, self._buffer, self.position - self._buffer_at)
        return claim if claim and self._expected <= claim.first and claim.count and claim.end <= end else None

    def _resynchronise(self, limit: int, end: int) -> None:
        """Moves to the next sound header, or to `limit`, and reports what was stepped over."""
        begin = self.position
        self.position += 1
        while self._load(frame.HEADER_BYTES, limit):
            at = self._buffer.find(frame.MAGIC, self.position - self._buffer_at)
            if at < 0:
                # The last bytes of the buffer may be the first of a magic.
                self.position = self._buffer_at + len(self._buffer) - len(frame.MAGIC) + 1
                continue
            self.position = self._buffer_at + at
            if self._claim(limit, end):
                self._report(begin)
                return
            self.position += 1
        self.position = limit
        self._report(begin)

    def _report(self, begin: int) -> None:
        if self._on_damage:
            self._on_damage(begin, self.position)

    def _load(self, need: int, limit: int) -> bool:
        """Makes the buffer hold `need` bytes from the position on; False when they do not exist below `limit`."""
        at = self.position - self._buffer_at
        if at >= 0 and at + need <= len(self._buffer):
            return True
        if self.position + need > limit:
            return False
        size = min(max(need, _READ_BYTES), limit - self.position)
        try:
            self._buffer = self._files.read(self._fd, size, self.position)
        except OSError as error:
            self._refused += error.errno in UNREADABLE
            if self._refused < PATIENCE:
                raise Retryable(f"a segment of the log cannot be read: {error.strerror}") from error
            self._buffer = self._read_pages(size)
        self._refused = 0
        self._buffer_at = self.position
        return need <= len(self._buffer)

    def _read_pages(self, size: int) -> bytes:
        """What can be read page by page; an unreadable page becomes zeros, which no checksum accepts."""
        pages = []
        for at in range(self.position, self.position + size, _PAGE):
            length = min(_PAGE, self.position + size - at)
            try:
                pages.append(self._files.read(self._fd, length, at))
            except OSError:
                pages.append(bytes(length))
        return b"".join(pages)
