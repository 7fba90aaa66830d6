"""A frame is read back, or fails its checksums."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parsec.adapters.log import frame

SEED = frame.checksum_seed("aa" * 16)
PAYLOAD = b'{"a":1}\n{"b":2}\n'
NO_LIMITS = (1 << 30, 1 << 30, 1 << 62)


def whole(first: int, count: int, payload: bytes, seed: int = SEED) -> bytes:
    return frame.pack_header(seed, first, first, count, payload) + payload


def read(data: bytes, at: int = 0, seed: int = SEED) -> bytes | None:
    header = frame.read_header(seed, data, at)
    return frame.read_payload(header, data, at) if header else None


@given(st.integers(0, 2**63), st.lists(st.binary(max_size=50).map(lambda b: b.replace(b"\n", b" ")), min_size=1))
def test_what_goes_in_comes_out(first: int, values: list[bytes]) -> None:
    payload = b"".join(value + b"\n" for value in values)
    data = b"before" + whole(first, len(values), payload)
    header = frame.read_header(SEED, data, 6)
    assert header is not None
    assert (header.first, header.count, header.end) == (first, len(values), first + len(values))
    assert 6 + header.size == len(data)
    assert frame.split_values(frame.read_payload(header, data, 6) or b"", header.count) == values


@pytest.mark.parametrize("bit", range(8))
def test_no_flipped_bit_goes_unseen(bit: int) -> None:
    data = whole(7, 2, PAYLOAD)
    for at in range(len(data)):
        damaged = bytearray(data)
        damaged[at] ^= 1 << bit
        assert read(bytes(damaged)) is None, at


def test_a_bad_payload_leaves_the_header_valid() -> None:
    data = bytearray(whole(7, 2, PAYLOAD))
    data[-3] ^= 1
    header = frame.read_header(SEED, bytes(data), 0)
    assert header is not None
    assert header.size == len(data)
    assert frame.read_payload(header, bytes(data), 0) is None


def test_a_frame_of_another_log_is_none() -> None:
    assert read(whole(0, 2, PAYLOAD, frame.checksum_seed("bb" * 16))) is None


def test_the_magic_cannot_stand_in_text() -> None:
    with pytest.raises(UnicodeDecodeError):
        frame.MAGIC.decode()


@pytest.mark.parametrize(
    ("payload", "count", "values"),
    [
        (b"a\nb\n", 2, [b"a", b"b"]),
        (b"a\nb", 2, [b"a", b"b"]),
        (b"a\nb\nc\n", 2, [b"a", b"b\nc"]),
        (b"a\n", 3, [b"a", b"", b""]),
        (b"a\nb\n", 1, [b"a\nb"]),
        (b"a\r\n", 1, [b"a\r"]),
    ],
)
def test_there_is_one_value_per_offset_and_no_byte_is_dropped(payload: bytes, count: int, values: list[bytes]) -> None:
    assert frame.split_values(payload, count) == values
    run = frame.read_records(SEED, whole(0, count, payload), 0, 0, NO_LIMITS)
    assert run is not None
    assert run.values == values


@settings(max_examples=200)
@given(
    counts=st.lists(st.integers(1, 4), min_size=1, max_size=8),
    flip=st.none() | st.integers(0, 2000),
    cut=st.integers(0, 60),
    max_events=st.integers(1, 20),
)
def test_a_run_takes_what_single_frames_give(counts: list[int], flip: int | None, cut: int, max_events: int) -> None:
    """The fast loop stops where `read_header` or `read_payload` first returns None, with the same values before."""
    data, first = b"", 10
    for count in counts:
        data += whole(first, count, b"".join(b"%d\n" % (first + n) for n in range(count)))
        first += count
    buffer = bytearray(data[: len(data) - cut])
    if flip is not None and flip < len(buffer):
        buffer[flip] ^= 4
    expected: list[bytes] = []
    at = 0
    while at + frame.FRAME_HEADER_BYTES <= len(buffer) and len(expected) < max_events:
        header = frame.read_header(SEED, bytes(buffer), at)
        if header is None or at + header.size > len(buffer):
            break
        payload = frame.read_payload(header, bytes(buffer), at)
        if payload is None:
            break
        expected += frame.split_values(payload, header.count)
        at += header.size
    run = frame.read_records(SEED, bytes(buffer), 0, 10, (max_events, 1 << 30, 1 << 62))
    assert (run.values if run else []) == expected
    assert (run.ends_at if run else 0) == at


def test_a_run_stops_before_a_gap_a_limit_and_the_end() -> None:
    data = whole(0, 2, PAYLOAD) + whole(2, 2, PAYLOAD) + whole(5, 2, PAYLOAD)
    size = len(data) // 3
    for limits, frames in ((NO_LIMITS, 2), ((1, 1 << 30, 99), 1), ((99, 1, 99), 1), ((99, 1 << 30, 3), 1)):
        run = frame.read_records(SEED, data, 0, 0, limits)
        assert run is not None
        assert (run.ends_at, len(run.values)) == (frames * size, frames * 2), limits
    assert frame.read_records(SEED, data, 0, 1, NO_LIMITS) is None
