"""A log that cannot be written says so, with and without events. Numbers are the invariants of write_check.py."""

import errno
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from parsec.adapters.log.embedded import EmbeddedLog
from parsec.adapters.log.write_check import DOUBT_S, HANG_S, PROBE_EVERY_S, RECHECK_S, WriteCheck
from parsec.core.errors import Retryable
from tests.support.fake_files import FakeFiles, Fault
from tests.support.logs import SMALL, fill, open_log, read
from tests.support.manual_clock import ManualClock


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def log(tmp_path: Path, clock: ManualClock) -> Iterator[EmbeddedLog]:
    opened = open_log(tmp_path / "data", clock=clock)
    yield opened
    opened.close()


def waited(log: EmbeddedLog, clock: ManualClock, seconds: float) -> str | None:
    """What the log refuses with after so long, during which it was checked as its thread does."""
    end = clock.monotonic() + seconds
    while clock.monotonic() < end:
        clock.advance(RECHECK_S)
        log._write_check.check()
    return log.refuses()


@pytest.mark.parametrize("code", [errno.EIO, errno.EROFS, errno.EDQUOT, errno.ENOSPC])
@pytest.mark.parametrize("operation", ["create", "write", "sync"])
def test_a_fault_is_known_without_events_and_forgotten_once_it_is_mended(
    tmp_path: Path, clock: ManualClock, operation: str, code: int
) -> None:
    """2, 4."""
    files = FakeFiles()
    log = open_log(tmp_path, files=files, clock=clock)
    written = fill(log, 2)
    for _ in range(20):
        files.fail(Fault(operation, code))
    why = waited(log, clock, PROBE_EVERY_S + RECHECK_S + DOUBT_S)
    assert why is not None
    assert "cannot be" in why
    files.heal()
    assert waited(log, clock, RECHECK_S) is None
    written |= fill(log, 2)
    assert read(log).values == written
    log.close()


def test_one_failure_that_the_next_attempt_outlives_refuses_no_one(tmp_path: Path, clock: ManualClock) -> None:
    """1."""
    files = FakeFiles()
    log = open_log(tmp_path, files=files, clock=clock)
    files.fail(Fault("sync", errno.EIO))
    with pytest.raises(Retryable):
        fill(log, 1)
    assert log.refuses() is None
    fill(log, 1)
    clock.advance(DOUBT_S)
    assert log.refuses() is None
    log.close()


def test_a_failed_publish_is_refused_from_then_on_until_a_probe_succeeds(tmp_path: Path, clock: ManualClock) -> None:
    files = FakeFiles()
    log = open_log(tmp_path, files=files, clock=clock)
    for _ in range(20):
        files.fail(Fault("sync", errno.EIO))
    with pytest.raises(Retryable):
        fill(log, 1)
    assert waited(log, clock, DOUBT_S) is not None
    files.heal()
    assert waited(log, clock, RECHECK_S) is None
    fill(log, 1)
    log.close()


def test_a_disk_that_does_not_answer_is_not_waited_for(clock: ManualClock) -> None:
    """3."""
    told: list[str | None] = []

    def hang() -> None:
        for _ in range(2):
            clock.advance(HANG_S - 1)
            told.append(check.refusal())

    check = WriteCheck(hang, clock)
    clock.advance(PROBE_EVERY_S)
    check.check()
    assert told == [None, "the disk of the log has not answered for 14 s"]
    assert check.refusal() is None


def test_a_busy_log_is_not_probed(tmp_path: Path, clock: ManualClock) -> None:
    """4."""
    files = FakeFiles()
    log = open_log(tmp_path, files=files, clock=clock)
    for _ in range(20):
        fill(log, 1)
        files.calls.clear()
        waited(log, clock, PROBE_EVERY_S - RECHECK_S)
        assert files.calls == ["free_bytes segments"]
    waited(log, clock, RECHECK_S)
    assert any(call.startswith("create probe") for call in files.calls)
    assert files.names(".new") == []
    log.close()


def test_deleted_segments_are_begun_anew_and_nothing_is_written_into_the_deleted_file(
    tmp_path: Path, log: EmbeddedLog
) -> None:
    fill(log, 1)
    shutil.rmtree(tmp_path / "data" / "segments")
    with pytest.raises(Retryable, match="No such file"):
        fill(log, 1)
    log._write_check.check()
    written = fill(log, 1)
    reading = read(log)
    assert (reading.values, reading.lost) == (written, 5)


def test_a_publish_that_ends_while_a_probe_waits_for_its_turn_hides_no_hang(
    clock: ManualClock, log: EmbeddedLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """3."""
    said: list[str | None] = []

    def hang() -> None:
        clock.advance(HANG_S)
        said.append(log.refuses())

    monkeypatch.setattr(log._writer, "probe", hang)
    log._write_check.began()
    fill(log, 1)
    log._probe()
    assert "has not answered for 8 s" in (said[0] or "")


def test_a_deleted_segment_in_a_directory_that_stayed_stops_nothing(tmp_path: Path, log: EmbeddedLog) -> None:
    fill(log, 1)
    (segment,) = (tmp_path / "data" / "segments").glob("*.log")
    segment.unlink()
    written = fill(log, 1)
    assert [path.name for path in (tmp_path / "data" / "segments").iterdir()] == [f"{5:020}.log"]
    assert read(log).values == written


def test_a_file_in_the_place_of_the_directory_is_named(tmp_path: Path, clock: ManualClock, log: EmbeddedLog) -> None:
    directory = tmp_path / "data" / "segments"
    shutil.rmtree(directory)
    directory.write_text("in the way")
    why = waited(log, clock, PROBE_EVERY_S + RECHECK_S + DOUBT_S)
    assert why is not None
    assert str(directory) in why
    directory.unlink()
    assert waited(log, clock, RECHECK_S) is None
    assert fill(log, 1)


def test_a_full_log_is_no_fault_of_the_disk(tmp_path: Path, clock: ManualClock) -> None:
    small = open_log(tmp_path, SMALL, clock=clock)
    small.reader("slow")
    while small.refuses() is None:
        fill(small, 1, 50)
    assert "PARSEC_LOG_MAX_BYTES" in (waited(small, clock, 2 * PROBE_EVERY_S) or "")
    small.close()
