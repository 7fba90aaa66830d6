"""Walking a segment: valid frames in order, damage stepped over and reported once, unreadable pages given up."""

import errno
from pathlib import Path

import pytest

from parsec.adapters.log import frame, segment
from parsec.adapters.log.frame import READ_ATTEMPTS, FrameCursor
from parsec.adapters.log.segment import SEGMENT_HEADER_BYTES
from parsec.core.errors import Retryable
from tests.support.fake_files import FakeFiles, Fault

LOG_ID = "aa" * 16
SEED = frame.checksum_seed(LOG_ID)
FOLDER = Path("segments")
ANYWHERE = 1 << 62


def made(files: FakeFiles, frames: int, payload: bytes = b"one\ntwo\n") -> tuple[int, int]:
    """A segment with frames of two events from offset 0 on: its descriptor, and the size of a frame."""
    fd = segment.create(files, FOLDER, LOG_ID, 0)
    size = frame.FRAME_HEADER_BYTES + len(payload)
    for n in range(frames):
        files.write(fd, [frame.pack_header(SEED, 2 * n, 2 * n, 2, payload), payload], SEGMENT_HEADER_BYTES + n * size)
    return fd, size


def walked(cursor: FrameCursor, limit: int, end: int = ANYWHERE) -> list[int]:
    firsts = []
    while found := cursor.next(limit, end):
        firsts.append(found.first)
    return firsts


def change(files: FakeFiles, at: int, data: bytes) -> None:
    path = FOLDER / segment.file_name(0)
    content = bytearray(files.content(path))
    content[at : at + len(data)] = data
    files.damage(path, bytes(content))


def test_names_and_headers_go_there_and_back() -> None:
    assert segment.first_offset(segment.file_name(1234)) == 1234
    for name in ("1.log", "state.db", segment.file_name(1) + ".corrupt", "x" * 20 + ".log"):
        assert segment.first_offset(name) is None
    header = segment.pack_header(LOG_ID, 99)
    assert segment.unpack_header(header) == (LOG_ID, 99)
    for at in range(len(header) - 4):
        damaged = bytearray(header)
        damaged[at] ^= 8
        assert segment.unpack_header(bytes(damaged)) is None, at
    assert segment.unpack_header(header[:-5]) is None


def test_a_segment_has_its_name_only_once_its_header_is_durable() -> None:
    for calls in range(5):
        files = FakeFiles()
        files.cut_power_in(calls)
        with pytest.raises(Exception):  # noqa: B017, PT011 (PowerCut)
            segment.create(files, FOLDER, LOG_ID, 7)
        files.power_cut()
        for path in files.names(".log"):
            assert segment.log_id_of(files, path, 7) == LOG_ID


def test_frames_come_in_order_up_to_the_limits() -> None:
    files = FakeFiles()
    fd, size = made(files, 5)
    limit = SEGMENT_HEADER_BYTES + 5 * size
    assert walked(FrameCursor(files, fd, SEED, SEGMENT_HEADER_BYTES, 0), limit) == [0, 2, 4, 6, 8]
    assert walked(FrameCursor(files, fd, SEED, SEGMENT_HEADER_BYTES, 0), limit - size) == [0, 2, 4, 6]
    assert walked(FrameCursor(files, fd, SEED, SEGMENT_HEADER_BYTES, 0), limit, end=6) == [0, 2, 4]


@pytest.mark.parametrize("where", ["magic", "length", "payload"])
def test_one_bad_frame_costs_one_frame(where: str) -> None:
    files = FakeFiles()
    fd, size = made(files, 5)
    at = SEGMENT_HEADER_BYTES + 2 * size
    change(files, at + {"magic": 0, "length": 21, "payload": frame.FRAME_HEADER_BYTES + 1}[where], b"\xee")
    damage: list[tuple[int, int]] = []
    cursor = FrameCursor(files, fd, SEED, SEGMENT_HEADER_BYTES, 0, lambda begin, end: damage.append((begin, end)))
    assert walked(cursor, SEGMENT_HEADER_BYTES + 5 * size) == [0, 2, 6, 8]
    assert damage == [(at, at + size)]


def test_damage_up_to_the_end_is_reported_once() -> None:
    files = FakeFiles()
    fd, size = made(files, 3)
    change(files, SEGMENT_HEADER_BYTES + size, bytes(2 * size))
    damage: list[tuple[int, int]] = []
    cursor = FrameCursor(files, fd, SEED, SEGMENT_HEADER_BYTES, 0, lambda begin, end: damage.append((begin, end)))
    limit = SEGMENT_HEADER_BYTES + 3 * size
    assert walked(cursor, limit) == [0]
    assert walked(cursor, limit) == []
    assert damage == [(SEGMENT_HEADER_BYTES + size, limit)]


def test_a_magic_cut_by_the_end_of_a_buffer_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    files = FakeFiles()
    fd, size = made(files, 6)
    change(files, SEGMENT_HEADER_BYTES, b"\0" * size)
    for read_bytes in range(frame.FRAME_HEADER_BYTES, 3 * size):
        monkeypatch.setattr(frame, "_READ_BYTES", read_bytes)
        cursor = FrameCursor(files, fd, SEED, SEGMENT_HEADER_BYTES, 0)
        assert walked(cursor, SEGMENT_HEADER_BYTES + 6 * size) == [2, 4, 6, 8, 10], read_bytes


def test_a_forged_frame_inside_a_payload_is_not_found() -> None:
    """Even one that knows the format, because it cannot know the log's id."""
    files = FakeFiles()
    forged = frame.pack_header(frame.checksum_seed("bb" * 16), 0, 0, 1, b"forged\n") + b"forged\n"
    fd, size = made(files, 2, payload=b"one" + forged.replace(b"\n", b"") + b"\ntwo\n")
    change(files, SEGMENT_HEADER_BYTES, b"\0\0")
    assert walked(FrameCursor(files, fd, SEED, SEGMENT_HEADER_BYTES, 0), SEGMENT_HEADER_BYTES + 2 * size) == [2]


def test_a_file_shorter_than_it_was_ends_in_damage() -> None:
    files = FakeFiles()
    fd, size = made(files, 3)
    limit = SEGMENT_HEADER_BYTES + 3 * size
    files.truncate(fd, limit - size - 1)
    damage: list[tuple[int, int]] = []
    cursor = FrameCursor(files, fd, SEED, SEGMENT_HEADER_BYTES, 0, lambda begin, end: damage.append((begin, end)))
    assert walked(cursor, limit) == [0]
    assert damage[0][0] == SEGMENT_HEADER_BYTES + size


def test_a_passing_error_is_never_taken_for_damage() -> None:
    files = FakeFiles()
    fd, size = made(files, 3)
    cursor = FrameCursor(files, fd, SEED, SEGMENT_HEADER_BYTES, 0)
    for _ in range(3 * READ_ATTEMPTS):
        files.fail(Fault("read", errno.EINTR))
        with pytest.raises(Retryable):
            cursor.next(SEGMENT_HEADER_BYTES + 3 * size, ANYWHERE)
    assert walked(cursor, SEGMENT_HEADER_BYTES + 3 * size) == [0, 2, 4]


def test_an_unreadable_page_is_given_up_after_some_attempts() -> None:
    files = FakeFiles()
    fd, size = made(files, 3, payload=b"x" * 6000 + b"\n" + b"y" * 6000 + b"\n")
    cursor = FrameCursor(files, fd, SEED, SEGMENT_HEADER_BYTES, 0)
    limit = SEGMENT_HEADER_BYTES + 3 * size
    for _ in range(READ_ATTEMPTS):
        files.fail(Fault("read", errno.EIO))
    files.fail(Fault("read", errno.EIO, skip=1))
    for _ in range(READ_ATTEMPTS - 1):
        with pytest.raises(Retryable):
            cursor.next(limit, ANYWHERE)
    assert walked(cursor, limit) == [2, 4]
