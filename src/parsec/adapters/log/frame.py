"""One frame: the events of one publish group, with a header whose checksums cover them.

In: first offset, count and payload (JSON lines). Out: bytes for the segment file, and back. Errors: none; the readers
return None for a frame that fails its checksums. Next: parsec.adapters.log.segment.

Header, little-endian, 36 bytes: magic, first offset u64, count u32, back u32, payload length u32, codec u8, 3 zero
bytes, CRC32C of these 28 bytes, CRC32C of these 28 bytes and the payload. `back` is the number of offsets between the
start of the publish and the frame: a publish starts only when the one before is durable, so a valid frame proves that
everything before its publish was durable once, and that a hole there is a loss and not a torn write. Both checksums
start from the log's id, so that a frame of another log, or one forged inside a message, is not valid. The header has a
checksum of its own, so that its length can be trusted: a damaged payload is skipped exactly, and memory for a damaged
length is never allocated.
"""

import struct

import google_crc32c
import msgspec

MAGIC = b"\xffPL1"
"""0xFF never occurs in UTF-8, so a search for the magic cannot stop inside the text of an event."""
FRAME_HEADER_BYTES = 36
UNCOMPRESSED = 0
"""The only codec so far: the payload is not compressed."""

_HEAD = struct.Struct("<4sQIIIB3x")
_SUMS = struct.Struct("<II")
_HEADER = struct.Struct("<4sQIIIB3xII")
_HEAD_BYTES = _HEAD.size


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
