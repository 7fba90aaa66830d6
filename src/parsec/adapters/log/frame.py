"""One frame: the events of one publish group, with a header whose checksums cover them.

In: first offset, count and payload (JSON lines). Out: bytes for the segment file, and back: valid frames in order of
offset; the bytes between them are reported as damage. Errors: Retryable while the disk does not return the bytes.
Next: parsec.adapters.log.reader.

Header, little-endian, 36 bytes: magic, first offset u64, count u32, back u32, payload length u32, codec u8, 3 zero
bytes, CRC32C of these 28 bytes, CRC32C of these 28 bytes and the payload. `back` is the number of offsets between the
start of the publish and the frame: a publish starts only when the one before is durable, so a valid frame proves that
everything before its publish was durable once, and that a hole there is a loss and not a torn write. Both checksums
start from the log's id, so that a frame of another log, or one forged inside a message, is not valid. The header has a
checksum of its own, so that its length can be trusted: a damaged payload is skipped exactly, and memory for a damaged
length is never allocated.
"""

import struct
from collections.abc import Callable

import google_crc32c
import msgspec

from parsec.adapters.log.files import READ_ERRORS, Files
from parsec.core.errors import Retryable

MAGIC = b"\xffPL1"
"""0xFF never occurs in UTF-8, so a search for the magic cannot stop inside the text of an event."""
FRAME_HEADER_BYTES = 36
UNCOMPRESSED = 0
"""The only codec so far: the payload is not compressed."""

_HEAD = struct.Struct("<4sQIIIB3x")
_SUMS = struct.Struct("<II")
_HEADER = struct.Struct("<4sQIIIB3xII")
_HEAD_BYTES = _HEAD.size

_READ_BYTES = 1 << 20
_PAGE = 4096
READ_ATTEMPTS = 3
"""Failed reads of one place before its unreadable pages are given up as damaged."""


class FrameHeader(msgspec.Struct, frozen=True, gc=False):
    """A valid header. `head_sum` and `sum` are its checksums."""

    first: int
    count: int
    back: int
    length: int
    codec: int
    head_sum: int
    sum: int

    @property
    def end(self) -> int:
        """The offset after its last event."""
        return self.first + self.count

    @property
    def size(self) -> int:
        """Bytes of header and payload."""
        return FRAME_HEADER_BYTES + self.length


class Records(msgspec.Struct, frozen=True, gc=False):
    """Consecutive records from offset `first` on; without values: nothing is left below `first`.

    `size`: in bytes. `ends_at`: the byte of the buffer after the last frame.
    """

    first: int
    values: list[bytes]
    size: int = 0
    ends_at: int = 0


class Frame(msgspec.Struct, frozen=True, gc=False):
    """A valid frame: its events have the offsets first..first+count-1. `ends_at` is the byte after it.

    All offsets below `began`, where its publish started, were durable before it was written.
    """

    began: int
    first: int
    count: int
    payload: bytes
    ends_at: int


def checksum_seed(log_id: str) -> int:
    """The value from which the checksums of a log's frames start."""
    return int(google_crc32c.value(log_id.encode()))


def pack_header(seed: int, began: int, first: int, count: int, payload: bytes) -> bytes:
    """The header of `payload`, in a publish that started at offset `began`."""
    head = _HEAD.pack(MAGIC, first, count, first - began, len(payload), UNCOMPRESSED)
    head_sum = google_crc32c.extend(seed, head)
    return head + _SUMS.pack(head_sum, google_crc32c.extend(head_sum, payload))


def read_header(seed: int, buffer: bytes, at: int) -> FrameHeader | None:
    """The header at `at`; None when no valid one is there. `buffer` must hold FRAME_HEADER_BYTES from `at`."""
    magic, first, count, back, length, codec, head_sum, whole_sum = _HEADER.unpack_from(buffer, at)
    if magic != MAGIC or google_crc32c.extend(seed, buffer[at : at + _HEAD_BYTES]) != head_sum:
        return None
    return FrameHeader(first, count, back, length, codec, head_sum, whole_sum)


def read_payload(header: FrameHeader, buffer: bytes, at: int) -> bytes | None:
    """The payload of the frame at `at`, all of it in `buffer`; None when damaged or of an unknown codec."""
    begin = at + FRAME_HEADER_BYTES
    payload = buffer[begin : begin + header.length]
    if header.codec != UNCOMPRESSED or google_crc32c.extend(header.head_sum, payload) != header.sum:
        return None
    return payload


def split_values(payload: bytes, count: int) -> list[bytes]:
    """Exactly `count` values, one per offset, also when the payload has another number of lines.

    No bytes are dropped: surplus lines become part of the last value, which then is no envelope and becomes a dead
    letter with its bytes.
    """
    values = payload.split(b"\n")
    if values[-1] == b"":
        values.pop()
    if len(values) > count:
        values[count - 1 :] = [b"\n".join(values[count - 1 :])]
    elif len(values) < count:
        values += [b""] * (count - len(values))
    return values


def read_records(seed: int, buffer: bytes, at: int, first: int, limits: tuple[int, int, int]) -> Records | None:
    """The records of adjacent frames from `at` and offset `first` on; stops before the first unusual frame.

    `limits`: stops once so many events or bytes are read, and before a frame beyond this offset. It reports nothing:
    `read_header` and `read_payload` decide on the frame at which it stops. One loop without calls of our own, since
    small requests make small frames: 1.5 us a frame against 5.
    """
    max_events, max_bytes, end = limits
    extend, unpack = google_crc32c.extend, _HEADER.unpack_from
    values: list[bytes] = []
    begin, offset, last_header = at, first, len(buffer) - FRAME_HEADER_BYTES
    while at <= last_header and len(values) < max_events and at - begin < max_bytes:
        magic, found, count, _, length, codec, head_sum, whole_sum = unpack(buffer, at)
        body = at + FRAME_HEADER_BYTES
        after = body + length
        if (
            magic != MAGIC
            or found != offset
            or not count
            or codec != UNCOMPRESSED
            or after > len(buffer)
            or offset + count > end
        ):
            break
        payload = buffer[body:after]
        if extend(seed, buffer[at : at + _HEAD_BYTES]) != head_sum or extend(head_sum, payload) != whole_sum:
            break
        values += split_values(payload, count) if count > 1 else (payload.removesuffix(b"\n"),)
        offset += count
        at = after
    return Records(first, values, at - begin, at) if values else None


class FrameCursor:
    """Reads the frames of an open segment from byte `position`, whose first event has offset `expected` or more.

    `on_damage(from_byte, to_byte)` is called once for bytes that are no valid  `seed`: of the log's checksums.
    """

    def __init__(
        self, files: Files, fd: int, seed: int, position: int, expected: int,
        on_damage: Callable[[int, int], None] | None = None,
    ) -> None:  # fmt: skip
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
            payload = read_payload(header, self._buffer, begin - self._buffer_at) if loaded else None
            self.position = min(ends_at, limit)
            if payload is None:
                self._report_damage(begin)
                continue
            self._expected = header.end
            return Frame(header.first - header.back, header.first, header.count, payload, ends_at)
        return None

    def records(self, limit: int, end: int, max_events: int, max_bytes: int) -> Records | None:
        """Like `next`, but the records of all frames that are in memory and wanted; of at least one"""
        if self._load(FRAME_HEADER_BYTES, limit):
            at = self.position - self._buffer_at
            found = read_records(self._seed, self._buffer, at, self._expected, (max_events, max_bytes, end))
            if found:
                self.position = self._buffer_at + found.ends_at
                self._expected += len(found.values)
                return found
        one = self.next(limit, end)
        return Records(one.first, split_values(one.payload, one.count), len(one.payload)) if one else None

    def _read_header(self, limit: int, end: int) -> FrameHeader | None:
        if not self._load(FRAME_HEADER_BYTES, limit):
            return None
        header = read_header(self._seed, self._buffer, self.position - self._buffer_at)
        return header if header and self._expected <= header.first and header.count and header.end <= end else None

    def _find_header(self, limit: int, end: int) -> None:
        """Moves to the next valid header, or to `limit`, and reports the bytes in between."""
        begin = self.position
        self.position += 1
        while self._load(FRAME_HEADER_BYTES, limit):
            at = self._buffer.find(MAGIC, self.position - self._buffer_at)
            if at < 0:
                # The last bytes of the buffer may be the first of a magic.
                self.position = self._buffer_at + len(self._buffer) - len(MAGIC) + 1
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
            self._buffer = self._files.read_some(self._fd, size, self.position)
            if len(self._buffer) < size:
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
