"""One frame: the bytes of one request's events with a header that proves them.

In: first offset, count and payload (JSON lines). Out: bytes for the segment file, and back. A frame that does not prove
itself is no frame: `claim` and `decode` answer None for it and never raise. Next: parsec.adapters.log.segment.

Header, little-endian, 36 bytes: magic, first offset u64, count u32, back u32, payload length u32, codec u8, 3 zero
bytes, CRC32C of these 28 bytes, CRC32C of these 28 bytes and the payload. `back` is the number of offsets between the
begin of the publish and the frame: a publish begins only when the one before is durable, so a sound frame proves that
everything before its publish was durable once, and a hole there is a loss and not a torn write. Both sums start from
the log's id, so a frame of another log, or one forged inside a message, does not prove itself. The sum of the header
alone makes its length trustworthy: a bad payload is stepped over exactly, and no damaged length is ever allocated.
"""

import struct

import google_crc32c
import msgspec

MAGIC = b"\xffPL1"
"""0xFF never occurs in UTF-8, so a search for the magic cannot stop inside the text of an event."""
HEADER_BYTES = 36
PLAIN = 0
"""The only codec so far: the payload as it is."""

_HEAD = struct.Struct("<4sQIIIB3x")
_SUMS = struct.Struct("<II")
_HEADER = struct.Struct("<4sQIIIB3xII")
_HEAD_BYTES = _HEAD.size


class Claim(msgspec.Struct, frozen=True, gc=False):
    """What a sound header says about its frame."""

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
        return HEADER_BYTES + self.length


def seed(log_id: str) -> int:
    """Where the checksums of a log's frames start."""
    return int(google_crc32c.value(log_id.encode()))


def header(start: int, began: int, first: int, count: int, payload: bytes) -> bytes:
    """The bytes that stand in front of `payload`, in a publish that began at offset `began`. `start`: the seed."""
    head = _HEAD.pack(MAGIC, first, count, first - began, len(payload), PLAIN)
    head_sum = google_crc32c.extend(start, head)
    return head + _SUMS.pack(head_sum, google_crc32c.extend(head_sum, payload))


def claim(start: int, buffer: bytes, at: int) -> Claim | None:
    """The header at `at`; None when no sound one is there. `buffer` must hold HEADER_BYTES from `at`."""
    magic, first, count, back, length, codec, head_sum, whole_sum = _HEADER.unpack_from(buffer, at)
    if magic != MAGIC or google_crc32c.extend(start, buffer[at : at + _HEAD_BYTES]) != head_sum:
        return None
    return Claim(first, count, back, length, codec, head_sum, whole_sum)


def decode(found: Claim, buffer: bytes, at: int) -> bytes | None:
    """The payload of the frame at `at`; None when it is damaged or of an unknown codec. All of it is in `buffer`."""
    begin = at + HEADER_BYTES
    payload = buffer[begin : begin + found.length]
    if found.codec != PLAIN or google_crc32c.extend(found.head_sum, payload) != found.sum:
        return None
    return payload


def lines(payload: bytes, count: int) -> list[bytes]:
    """Exactly `count` values. A payload with another number of lines still has one value per offset.

    Bytes are never dropped: what does not fit becomes part of the last value, where it is no envelope and therefore
    a dead letter with its bytes.
    """
    values = payload.split(b"\n")
    if values[-1] == b"":
        values.pop()
    if len(values) > count:
        values[count - 1 :] = [b"\n".join(values[count - 1 :])]
    elif len(values) < count:
        values += [b""] * (count - len(values))
    return values


class Run(msgspec.Struct, frozen=True, gc=False):
    """Values of adjacent frames, from offset `first` on. `ends_at`: the byte of the buffer after the last frame."""

    first: int
    values: list[bytes]
    size: int
    ends_at: int


def run(start: int, buffer: bytes, at: int, first: int, limits: tuple[int, int, int]) -> Run | None:
    """Sound frames that follow each other from `at` and offset `first` on; stops before the first unusual one.

    `limits`: stop once so many events or bytes are taken, and before a frame beyond this offset. It judges nothing:
    what it leaves is for `claim` and `decode`. One loop without calls of our own, since small requests make small
    frames: 1.5 us a frame against 5.
    """
    max_events, max_bytes, end = limits
    extend, unpack = google_crc32c.extend, _HEADER.unpack_from
    values: list[bytes] = []
    begin, offset, last_header = at, first, len(buffer) - HEADER_BYTES
    while at <= last_header and len(values) < max_events and at - begin < max_bytes:
        magic, found, count, _, length, codec, head_sum, whole_sum = unpack(buffer, at)
        body = at + HEADER_BYTES
        after = body + length
        if (
            magic != MAGIC
            or found != offset
            or not count
            or codec != PLAIN
            or after > len(buffer)
            or offset + count > end
        ):
            break
        payload = buffer[body:after]
        if extend(start, buffer[at : at + _HEAD_BYTES]) != head_sum or extend(head_sum, payload) != whole_sum:
            break
        values += lines(payload, count) if count > 1 else (payload.removesuffix(b"\n"),)
        offset += count
        at = after
    return Run(first, values, at - begin, at) if values else None
