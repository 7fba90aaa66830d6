"""I7, I8: what is deleted when, when the log refuses, and that it recovers by itself."""

import errno
import threading
from pathlib import Path

import pytest

from parsec.adapters.log.embedded import FULL_BYTES, EmbeddedLog, LogOptions
from parsec.adapters.log.reader import EmbeddedReader
from parsec.core.errors import Retryable
from parsec.ports.broker import Assigned, Counts, Slice
from parsec.telemetry import Telemetry
from tests.support.fake_files import FakeFiles, Fault
from tests.support.logs import commit_all, fill, group, open_log, read, segments
from tests.support.manual_clock import ManualClock

KEEP = LogOptions(segment_bytes=4096, max_bytes=1 << 20, retention_s=60.0, disk_reserve=0)
TIGHT = LogOptions(segment_bytes=4096, max_bytes=16384, retention_s=3600.0, disk_reserve=0)
LOW = LogOptions(segment_bytes=1 << 16, max_bytes=1 << 20, retention_s=3600.0, disk_reserve=1 << 20)


def test_a_read_segment_goes_when_it_is_old_and_an_unread_one_never(tmp_path: Path) -> None:
    clock = ManualClock()
    log = open_log(tmp_path, KEEP, clock=clock)
    log.reader("processor")
    fill(log, 20)
    clock.advance(10_000)
    reader = log.reader("processor")
    reader.poll(0, 1, 1)
    assert reader.poll(0, 1, 1) is not None
    assert reader.poll(0, 1, 1) is not None
    assert log.start == 0, "I7: deleted before it was committed"
    commit_all(log)
    for _ in range(20):
        log.reader("processor").poll(0, 1, 1)
        commit_all(log)
    assert log.start > 0
    assert len(segments(tmp_path)) == 1
    log.close()


def test_retention_keeps_what_is_read(tmp_path: Path) -> None:
    clock = ManualClock()
    log = open_log(tmp_path, KEEP, clock=clock)
    fill(log, 20)
    commit_all(log)
    before = segments(tmp_path)
    assert len(before) > 3
    clock.advance(59)
    commit_all(log)
    assert segments(tmp_path) == before
    clock.advance(2)
    for _ in range(5):
        commit_all(log)
    assert len(segments(tmp_path)) == 1
    log.close()


def test_every_reader_pins(tmp_path: Path) -> None:
    clock = ManualClock()
    log = open_log(tmp_path, KEEP, clock=clock)
    fill(log, 20)
    log.reader("slow")
    commit_all(log, "fast")
    clock.advance(1000)
    commit_all(log, "fast")
    assert log.start == 0
    log.close()
    log = open_log(tmp_path, KEEP, clock=clock)
    commit_all(log, "fast")
    assert log.start == 0, "a reader that is not open pins as well"
    assert len(read(log, "slow").values) == 100
    log.close()


def test_the_cap_goes_before_retention(tmp_path: Path) -> None:
    log = open_log(tmp_path, TIGHT)
    for _ in range(40):
        fill(log, 1)
        commit_all(log)
        assert log.size_bytes <= TIGHT.max_bytes + 4096
    assert log.start > 0
    log.close()


def test_unread_events_fill_the_log_and_reading_makes_room_again(tmp_path: Path) -> None:
    telemetry = Telemetry()
    log = open_log(tmp_path, TIGHT, telemetry=telemetry)
    written: dict[int, bytes] = {}
    with pytest.raises(Retryable, match="PARSEC_LOG_MAX_BYTES"):  # noqa: PT012
        for _ in range(100):
            written.update(fill(log, 1))
    refusal = log.refuses()
    assert refusal is not None
    assert "16KiB" in refusal
    assert log.size_bytes <= TIGHT.max_bytes + 4096
    assert telemetry.value("parsec_log_bytes") == log.size_bytes
    assert read(log).values == written
    commit_all(log)
    assert log.refuses() is None
    fill(log, 1)
    log.close()


def test_one_publish_larger_than_the_log_does_not_block_it_for_ever(tmp_path: Path) -> None:
    log = open_log(tmp_path, TIGHT)
    log.publish([group(0, 200)])
    assert log.size_bytes > TIGHT.max_bytes
    assert log.refuses() is not None
    reader = log.reader("processor")
    event = reader.poll(0, 1, 1)
    assert isinstance(event, Assigned)
    reader.commit(0, event.epoch, 100, Counts(stored=100))
    assert log.refuses() is not None
    reader.commit(0, event.epoch, 200, Counts(stored=200))
    assert log.refuses() is None
    log.publish([group(200, 1)])
    assert log.size_bytes < TIGHT.max_bytes
    log.close()


def test_the_reserve_of_the_disk_is_left_alone(tmp_path: Path) -> None:
    files, clock = FakeFiles(), ManualClock()
    options = LogOptions(segment_bytes=4096, max_bytes=1 << 20, retention_s=3600, disk_reserve=1 << 20)
    log = open_log(tmp_path, options, files=files, clock=clock)
    fill(log, 20)
    files.free = (1 << 20) - 1
    assert log.refuses() is None, "looked at the disk more often than each 200 ms"
    clock.advance(0.3)
    refusal = log.refuses()
    assert refusal is not None
    assert "PARSEC_DISK_RESERVE" in refusal
    with pytest.raises(Retryable, match="PARSEC_DISK_RESERVE"):
        fill(log, 1)
    # What is read goes at once, so that space comes back.
    held = len(files.names(".log"))
    commit_all(log)
    commit_all(log)
    assert len(files.names(".log")) < held
    files.free = 1 << 30
    clock.advance(0.3)
    assert log.refuses() is None
    fill(log, 1)
    log.close()


def test_a_full_disk_refuses_also_where_no_reserve_was_asked_for(tmp_path: Path) -> None:
    files, clock = FakeFiles(), ManualClock()
    log = open_log(tmp_path, KEEP, files=files, clock=clock)
    files.free = FULL_BYTES
    clock.advance(0.3)
    assert log.refuses() is None
    files.free -= 1
    clock.advance(0.3)
    refusal = log.refuses()
    assert refusal is not None
    assert "the disk is full (1023 KiB free)" in refusal
    with pytest.raises(Retryable, match="the disk is full"):
        fill(log, 1)
    files.free = 1 << 30
    clock.advance(0.3)
    fill(log, 1)
    log.close()


def test_asking_is_cheap(tmp_path: Path) -> None:
    files = FakeFiles()
    log = open_log(tmp_path, files=files)
    assert log.refuses() is None
    files.calls.clear()
    for _ in range(100):
        log.refuses()
    assert files.calls == []
    log.close()


def low_on_disk(directory: Path, files: FakeFiles, clock: ManualClock) -> tuple[EmbeddedLog, EmbeddedReader]:
    """A log with 100 events in its one active segment, and a reader that was given all of them."""
    log = open_log(directory, LOW, files=files, clock=clock)
    reader = log.reader("processor")
    assert isinstance(reader.poll(0, 1, 1), Assigned)
    fill(log, 20)
    piece = reader.poll(0, 1000, 1 << 20)
    assert isinstance(piece, Slice)
    assert piece.next_offset == 100
    assert len(files.names(".log")) == 1
    files.free = 1 << 10
    clock.advance(0.3)
    assert log.refuses() is not None
    return log, reader


def test_a_low_disk_gets_the_active_segment_too_once_all_of_it_is_read(tmp_path: Path) -> None:
    """Nothing is published while ingest refuses, so the readers have to make the room."""
    files, clock = FakeFiles(), ManualClock()
    log, reader = low_on_disk(tmp_path, files, clock)
    (active,) = files.names(".log")
    reader.commit(0, 1, 99, Counts(stored=99))
    assert files.names(".log") == [active], "I7: deleted before all of it was committed"
    reader.commit(0, 1, 100, Counts(stored=100))
    assert [int(path.stem) for path in files.names(".log")] == [100]
    assert not files.holds_deleted
    assert log.size_bytes < 100
    calls = len(files.calls)
    for _ in range(10):
        assert reader.poll(0, 1, 1) is None
    assert not [call for call in files.calls[calls:] if not call.startswith("free_bytes")], "an empty one is rolled"
    files.free = 1 << 30
    clock.advance(0.3)
    assert log.refuses() is None
    written = fill(log, 2)
    assert read(log).values == written
    log.close()


def test_a_segment_that_cannot_be_rolled_for_want_of_room_is_tried_again(tmp_path: Path) -> None:
    files, clock = FakeFiles(), ManualClock()
    log, reader = low_on_disk(tmp_path, files, clock)
    files.fail(Fault("create", errno.ENOSPC))
    reader.commit(0, 1, 100, Counts(stored=100))
    assert [int(path.stem) for path in files.names(".log")] == [0]
    assert reader.poll(0, 1, 1) is None
    assert [int(path.stem) for path in files.names(".log")] == [100]
    log.close()
    log = open_log(tmp_path, LOW, files=files, clock=clock)
    assert log.end == 100
    assert read(log).lost == 0
    log.close()


def test_one_publish_larger_than_the_log_is_gone_as_soon_as_it_is_read(tmp_path: Path) -> None:
    log = open_log(tmp_path, TIGHT)
    log.publish([group(0, 200)])
    assert log.size_bytes > TIGHT.max_bytes
    commit_all(log)
    assert log.size_bytes < 100
    log.close()


class SlowSync(FakeFiles):
    """While `slow`, a sync says so and waits until it is told to go on."""

    def __init__(self) -> None:
        super().__init__()
        self.slow = False
        self.begun, self.go_on = threading.Event(), threading.Event()

    def sync(self, fd: int) -> None:
        if self.slow:
            self.begun.set()
            assert self.go_on.wait(10)
        super().sync(fd)


def test_a_segment_is_not_rolled_under_the_hands_of_a_publish(tmp_path: Path) -> None:
    """The publish passed the check while there was room; the disk runs low before its sync returns."""
    files, clock = SlowSync(), ManualClock()
    log, reader = low_on_disk(tmp_path, files, clock)
    files.free = 1 << 30
    clock.advance(0.3)
    written: dict[int, bytes] = {}
    files.slow = True
    publisher = threading.Thread(target=lambda: written.update(fill(log, 1)))
    publisher.start()
    assert files.begun.wait(10)
    files.slow, files.free = False, 1 << 10
    clock.advance(0.3)
    reader.commit(0, 1, 100, Counts(stored=100))
    assert [int(path.stem) for path in files.names(".log")] == [0]
    files.go_on.set()
    publisher.join(10)
    assert read(log).values == written
    assert written.keys() == set(range(100, 105))
    log.close()


def test_read_segments_are_kept_up_to_a_bound_that_unread_ones_do_not_know(tmp_path: Path) -> None:
    kept = 16384
    log = open_log(tmp_path, LogOptions(segment_bytes=4096, max_bytes=1 << 20, kept_bytes=kept, disk_reserve=0))
    fill(log, 200)
    assert log.size_bytes > 4 * kept
    for _ in range(40):
        commit_all(log)
    passed = log.size_bytes - segments(tmp_path)[-1].stat().st_size
    assert kept - 4096 * 2 < passed <= kept
    fill(log, 200)
    start, size = log.start, log.size_bytes
    log.reader("processor").poll(0, 1, 1)
    assert (log.start, log.size_bytes) == (start, size), "unread segments counted against the bound"
    log.close()


def test_all_is_kept_while_it_may_be_read_again_and_there_is_room(tmp_path: Path) -> None:
    clock = ManualClock()
    log = open_log(tmp_path, TIGHT, clock=clock)
    log.reader("processor").keep_committed(True)
    fill(log, 12)
    before = segments(tmp_path)
    assert len(before) > 2
    clock.advance(100_000)
    commit_all(log)
    assert segments(tmp_path) == before
    for _ in range(10):
        fill(log, 10)
        commit_all(log)
    assert log.size_bytes <= TIGHT.max_bytes + 4096, "stored events took the place of new ones"
    log.reader("processor").keep_committed(False)
    clock.advance(100_000)
    for _ in range(5):
        commit_all(log)
    assert len(segments(tmp_path)) == 1
    log.close()
