"""Failures of the disk under a running log, and what a start finds. Numbers are the invariants of embedded.py."""

import contextlib
import errno
from pathlib import Path

import pytest

from parsec.adapters.log.writer import BLOCK
from parsec.adapters.log.writer import NAMES as CHECKPOINTS
from parsec.core.errors import Fatal, Retryable
from parsec.ports.broker import Assigned, Counts, Slice
from parsec.telemetry import Telemetry
from tests.support.fake_files import FakeFiles, Fault, PowerCut
from tests.support.logs import SMALL, commit_all, damaged, fill, group, open_log, read, segments, slices
from tests.support.manual_clock import ManualClock

FAULTS = [
    Fault("write", errno.ENOSPC),
    Fault("write", errno.ENOSPC, taken=100),
    Fault("write", errno.EIO, taken=10_000),
    Fault("write", 0, taken=57),
    Fault("sync", errno.EIO),
]


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("can_cut", [True, False])
@pytest.mark.parametrize("how", ["go on", "kill", "power cut"])
def test_what_is_in_doubt_is_not_seen_and_its_offsets_are_given_anew(
    tmp_path: Path, fault: Fault, can_cut: bool, how: str
) -> None:
    """I1, I3, I4."""
    files = FakeFiles(seed=7)
    log = open_log(tmp_path, files=files)
    written = fill(log, 3)
    files.fail(fault)
    if not can_cut:
        files.fail(Fault("truncate", errno.EIO))
    with pytest.raises(Retryable):
        log.publish([group(900, 4, "in doubt")])
    files.heal()
    assert log.end == 15
    written.update(fill(log, 2))
    if how != "go on":
        files.halt()
        log.close()
        files.power_cut() if how == "power cut" else files.restart()
        log = open_log(tmp_path, files=files)
    reading = read(log)
    assert reading.values == written
    assert reading.lost == 0
    log.close()


def test_a_file_whose_sync_failed_is_never_synced_again(tmp_path: Path) -> None:
    """I3."""
    files = FakeFiles()
    log = open_log(tmp_path, files=files)
    fill(log, 1)
    (old,) = files.names(".log")
    files.fail(Fault("sync", errno.EIO))
    with pytest.raises(Retryable):
        fill(log, 1)
    content = files.content(old)
    fill(log, 3)
    assert files.content(old) == content
    assert len(files.names(".log")) == 2
    log.close()


def test_a_disk_full_for_long_leaves_no_trail_of_files(tmp_path: Path) -> None:
    files = FakeFiles()
    log = open_log(tmp_path, files=files)
    fill(log, 1)
    files.fail(Fault("write", errno.ENOSPC))
    with pytest.raises(Retryable):
        fill(log, 1)
    for _ in range(20):
        files.fail(Fault("write", errno.ENOSPC, skip=1))
        with pytest.raises(Retryable):
            fill(log, 1)
    assert len(files.names(".log")) == 2
    assert files.names(".new") == []
    fill(log, 1)
    assert len(read(log).values) == 10
    log.close()


def test_what_could_not_be_cut_stays_out_of_sight_when_the_next_segment_is_lost(tmp_path: Path) -> None:
    """I2, I4: its offsets were given to others, which are counted as lost."""
    files = FakeFiles()
    log = open_log(tmp_path, files=files)
    written = fill(log, 1)
    files.fail(Fault("sync", errno.EIO))
    files.fail(Fault("truncate", errno.EIO))
    with pytest.raises(Retryable):
        fill(log, 1, message="in doubt")
    fill(log, 60)
    files.halt()
    log.close()
    files.restart()
    old, next_one, after = files.names(".log")[:3]
    assert b"in doubt" in files.content(old)
    files.damage(next_one, None)
    log = open_log(tmp_path, files=files)
    reading = read(log)
    assert {offset: value for offset, value in reading.values.items() if offset < int(after.stem)} == written
    assert reading.lost == int(after.stem) - 5
    log.close()


@pytest.mark.parametrize("seed", range(6))
def test_a_segment_whose_name_was_not_durable_is_made_so_by_the_next_start(tmp_path: Path, seed: int) -> None:
    """I1."""
    files = FakeFiles(seed)
    log = open_log(tmp_path, files=files)
    while len(files.names(".log")) < 2:
        files.heal()
        files.fail(Fault("sync_directory", errno.EIO))
        with contextlib.suppress(Retryable):
            fill(log, 1)
    files.heal()
    files.halt()
    log.close()
    files.restart()
    log = open_log(tmp_path, files=files)
    end = log.end
    written = fill(log, 2)
    files.halt()
    log.close()
    files.power_cut()
    log = open_log(tmp_path, files=files)
    assert log.end == end + 10
    assert read(log).values.items() >= written.items()
    log.close()


def test_a_checkpoint_that_cannot_be_written_is_made_anew(tmp_path: Path) -> None:
    """I2: nothing is acknowledged beyond the checkpoint; the events stay, for they are durable."""
    files = FakeFiles()
    log = open_log(tmp_path, files=files)
    fill(log, 1)
    files.fail(Fault("write", errno.EIO, skip=1))
    written = fill(log, 1)
    assert log.end == 10
    files.fail(Fault("write", errno.EIO, skip=1))
    files.fail(Fault("write", errno.EIO))
    with pytest.raises(Retryable):
        fill(log, 1)
    assert log.end == 15
    fill(log, 1)
    assert log.end == 20
    assert read(log).values.items() >= written.items()
    log.close()


def test_a_publish_is_one_write_and_one_sync_and_its_checkpoint(tmp_path: Path) -> None:
    files = FakeFiles()
    log = open_log(tmp_path, files=files)
    files.calls.clear()
    log.publish([group(n, 3) for n in range(8)])
    assert [call for call in files.calls if not call.startswith("free_bytes")] == ["write", "sync", "write", "write"]
    log.close()


def test_a_start_reads_no_old_segment(tmp_path: Path) -> None:
    files = FakeFiles()
    log = open_log(tmp_path, files=files)
    fill(log, 100)
    names = files.names(".log")
    assert len(names) > 5
    for how in ("close", "kill"):
        if how == "kill":
            files.halt()
        log.close()
        files.restart()
        files.calls.clear()
        log = open_log(tmp_path, files=files)
        opened = {call.split()[-1] for call in files.calls if call.startswith("open")}
        assert opened <= {names[-1].name, *CHECKPOINTS, "writing"}
        assert files.calls.count("read") <= 7
    log.close()


def test_restarts_without_events_leave_no_trace(tmp_path: Path) -> None:
    log_ids = set()
    for _ in range(4):
        log = open_log(tmp_path)
        log_ids.add(log.log_id)
        log.close()
    assert len(log_ids) == 1
    assert len(segments(tmp_path)) == 1


def test_the_log_goes_on_in_the_same_segment(tmp_path: Path) -> None:
    for n in range(3):
        log = open_log(tmp_path)
        assert log.end == n
        fill(log, 1, count=1)
        log.close()
    assert len(segments(tmp_path)) == 1


@pytest.mark.parametrize("cut", [1, 40, 300])
def test_a_torn_tail_is_cut_and_is_no_loss(tmp_path: Path, cut: int) -> None:
    telemetry = Telemetry()
    log = open_log(tmp_path)
    written = fill(log, 3)
    log.close()
    (path,) = segments(tmp_path)
    sound = path.read_bytes()
    path.write_bytes(sound + sound[48 : 48 + cut])
    log = open_log(tmp_path, telemetry=telemetry)
    assert (log.end, damaged(telemetry, "torn_tail")) == (15, 1)
    reading = read(log)
    assert (reading.values, reading.lost) == (written, 0)
    assert path.read_bytes() == sound
    log.close()


def test_a_missing_segment_is_counted_exactly(tmp_path: Path) -> None:
    """I5, I6."""
    log = open_log(tmp_path)
    written = fill(log, 60)
    log.close()
    paths = segments(tmp_path)
    first, after = int(paths[2].stem), int(paths[3].stem)
    paths[2].unlink()
    log = open_log(tmp_path)
    reading = read(log)
    assert reading.lost == after - first
    assert reading.values == {offset: value for offset, value in written.items() if not first <= offset < after}
    log.close()


@pytest.mark.parametrize("how", ["close", "kill", "power cut"])
def test_the_newest_segment_is_missed_and_offsets_go_on(tmp_path: Path, how: str) -> None:
    """I2: exactly after a clean stop or a kill, beyond everything given out after a power cut."""
    files = FakeFiles(seed=3)
    log = open_log(tmp_path, files=files)
    fill(log, 60)
    commit_all(log)
    fill(log, 1)
    end = log.end
    if how != "close":
        files.halt()
    log.close()
    files.power_cut() if how == "power cut" else files.restart()
    newest = files.names(".log")[-1]
    files.damage(newest, None)
    log = open_log(tmp_path, files=files)
    if how == "power cut":
        assert log.end > end
    else:
        assert log.end == end
    reading = read(log)
    assert reading.values == {}
    assert reading.lost == log.end - reading.first
    fill(log, 1)
    log.close()


def test_the_state_alone_tells_that_the_newest_segment_is_missing(tmp_path: Path) -> None:
    """I2: the checkpoint is gone as well, and the segment before ends where the missing one began."""
    files = FakeFiles()
    log = open_log(tmp_path, files=files)
    while len(files.names(".log")) < 3:
        fill(log, 1)
    end = log.end
    files.halt()
    log.close()
    files.power_cut()
    files.damage(files.names(".log")[-1], None)
    for name in CHECKPOINTS:
        files.damage(tmp_path / name, None)
    log = open_log(tmp_path, files=files)
    assert log.end >= end
    reading = read(log)
    assert len(reading.values) + reading.lost == log.end
    log.close()


@pytest.mark.parametrize("how", ["close", "kill", "power cut"])
@pytest.mark.parametrize("left", [0, 300, 700])
def test_a_cut_end_without_a_checkpoint_is_counted(tmp_path: Path, how: str, left: int) -> None:
    """I2, I5: exactly after a clean stop, and never by more than what the state reserves ahead."""
    files = FakeFiles(seed=left)
    log = open_log(tmp_path, files=files)
    written = fill(log, 4)
    if how != "close":
        files.halt()
    log.close()
    files.power_cut() if how == "power cut" else files.restart()
    (path,) = files.names(".log")
    files.damage(path, files.content(path)[: 48 + left])
    for name in CHECKPOINTS:
        files.damage(tmp_path / name, b"no checkpoint")
    log = open_log(tmp_path, files=files)
    assert 20 <= log.end <= (20 if how == "close" else BLOCK)
    end = log.end
    written.update(fill(log, 2))
    files.halt()
    log.close()
    files.restart()
    log = open_log(tmp_path, files=files)
    reading = read(log)
    assert reading.values.items() <= written.items()
    assert reading.values.keys() >= {end, end + 9}
    assert reading.lost == log.end - len(reading.values)
    log.close()


def test_a_lost_state_and_checkpoint_leave_a_guess_beyond_the_end(tmp_path: Path) -> None:
    """I2: nothing is left that knows how far the log was."""
    log = open_log(tmp_path)
    fill(log, 4)
    log.close()
    (path,) = segments(tmp_path)
    path.write_bytes(path.read_bytes()[:-100])
    for lost in (*tmp_path.glob("mark*"), *tmp_path.glob("state.db*")):
        lost.unlink()
    log = open_log(tmp_path)
    assert 20 < log.end <= 20 + BLOCK
    assert read(log).lost > 0
    log.close()


@pytest.mark.parametrize("power", [True, False])
@pytest.mark.parametrize("calls", range(13))
def test_a_first_start_that_dies_anywhere_has_lost_nothing(tmp_path: Path, calls: int, power: bool) -> None:
    """A log without a checkpoint is a damaged one only after something can have been in it."""
    files = FakeFiles(seed=calls)
    files.cut_power_in(calls)
    with contextlib.suppress(PowerCut):
        open_log(tmp_path, files=files)
    files.heal()
    files.power_cut() if power else files.restart()
    log = open_log(tmp_path, files=files)
    assert log.end == 0
    written = fill(log, 1)
    assert read(log).values == written
    log.close()


def test_damaged_headers_are_set_aside_and_a_foreign_segment_too(tmp_path: Path) -> None:
    """I6."""
    telemetry = Telemetry()
    log = open_log(tmp_path / "a")
    fill(log, 60)
    log.close()
    other = open_log(tmp_path / "b")
    fill(other, 60)
    other.close()
    paths = segments(tmp_path / "a")
    content = bytearray(paths[1].read_bytes())
    content[20] ^= 1
    paths[1].write_bytes(bytes(content))
    paths[3].write_bytes((tmp_path / "b" / "segments" / paths[3].name).read_bytes())
    log = open_log(tmp_path / "a", telemetry=telemetry)
    reading = read(log)
    bounds = [int(path.stem) for path in paths]
    assert reading.lost == bounds[2] - bounds[1] + bounds[4] - bounds[3]
    assert [path.name for path in segments(tmp_path / "a", ".corrupt")] == [
        f"{paths[1].name}.corrupt",
        f"{paths[3].name}.corrupt",
    ]
    assert damaged(telemetry, "segment") == 2
    log.close()


def test_what_is_set_aside_is_bounded(tmp_path: Path) -> None:
    """I8."""
    log = open_log(tmp_path)
    fill(log, 400)
    log.close()
    for path in segments(tmp_path)[:-1]:
        path.write_bytes(b"\0" * path.stat().st_size)
    log = open_log(tmp_path)
    read(log)
    kept = segments(tmp_path, ".corrupt")
    assert 1 <= len(kept) < 20
    assert sum(path.stat().st_size for path in kept) <= SMALL.max_bytes // 8
    log.close()


def test_bad_frames_are_skipped_once_and_their_bytes_kept(tmp_path: Path) -> None:
    telemetry = Telemetry()
    log = open_log(tmp_path)
    written = fill(log, 10)
    (path, *_) = segments(tmp_path)
    content = bytearray(path.read_bytes())
    content[48 + 100] ^= 0x40
    path.write_bytes(bytes(content))
    for _ in range(2):
        reading = read(log, "again")
        assert reading.lost == 5
        assert reading.values == {offset: value for offset, value in written.items() if offset >= 5}
    assert damaged(telemetry, "frame") == 0
    (kept,) = segments(tmp_path, ".corrupt")
    assert kept.read_bytes() == bytes(content[48 : 48 + kept.stat().st_size])
    log.close()


def test_a_lost_state_is_rebuilt_from_the_segments(tmp_path: Path) -> None:
    log = open_log(tmp_path)
    log_id = log.log_id
    written = fill(log, 40)
    commit_all(log)
    end = log.end
    log.close()
    for path in tmp_path.glob("state.db*"):
        path.unlink()
    log = open_log(tmp_path)
    assert (log.log_id, log.end) == (log_id, end)
    assert read(log).values == written
    log.close()


def test_a_read_that_fails_for_a_moment_loses_nothing(tmp_path: Path) -> None:
    files = FakeFiles()
    log = open_log(tmp_path, files=files)
    written = fill(log, 10)
    reader = log.reader("processor")
    reader.poll(0, 1, 1)
    for operation in ("open", "read", "read"):
        files.fail(Fault(operation, errno.EMFILE))
        with pytest.raises(Retryable):
            reader.poll(0, 100, 1 << 20)
    piece = reader.poll(0, 100, 1 << 20)
    assert isinstance(piece, Slice)
    assert dict(zip(piece.offsets, piece.values, strict=True)) == written
    log.close()


def test_a_disk_that_cannot_make_the_tail_durable_is_fatal_and_leaves_the_lock(tmp_path: Path) -> None:
    files = FakeFiles()
    log = open_log(tmp_path, files=files)
    fill(log, 1)
    log.close()
    files.fail(Fault("sync", errno.EIO))
    with pytest.raises(Fatal, match="cannot be opened"):
        open_log(tmp_path, files=files)
    open_log(tmp_path, files=files).close()


def test_a_full_disk_at_start_still_lets_the_processor_drain(tmp_path: Path) -> None:
    files = FakeFiles()
    log = open_log(tmp_path, files=files)
    written = fill(log, 60)
    newest = files.names(".log")[-1]
    log.close()
    content = files.content(newest)
    files.damage(newest, content[: len(content) // 2])
    files.fail(Fault("create", errno.ENOSPC))
    log = open_log(tmp_path, files=files)
    reading = read(log)
    assert reading.lost > 0
    assert reading.values.items() <= written.items()
    assert len(reading.values) + reading.lost == 300
    fill(log, 1)
    log.close()


def test_reservations_of_what_was_lost_can_be_finished(tmp_path: Path) -> None:
    """I2: a reserved range is below the end, whatever became of its events."""
    log = open_log(tmp_path)
    fill(log, 4)
    reader = log.reader("processor")
    event = reader.poll(0, 1, 1)
    assert isinstance(event, Assigned)
    piece = reader.poll(0, 100, 1 << 20)
    assert isinstance(piece, Slice)
    reader.reserve(piece.range, event.epoch, 1)
    log.close()
    for path in (*segments(tmp_path), *(tmp_path / name for name in CHECKPOINTS)):
        path.unlink()
    log = open_log(tmp_path)
    assert log.end >= piece.next_offset
    reading = read(log)
    assert reading.lost >= 20
    log.close()


def test_commits_of_an_ended_epoch_change_nothing(tmp_path: Path) -> None:
    log = open_log(tmp_path, clock=ManualClock())
    fill(log, 2)
    reader = log.reader("processor")
    event = reader.poll(0, 1, 1)
    assert isinstance(event, Assigned)
    reader.commit(0, event.epoch + 1, 10, Counts(stored=10))
    reader.commit(1, event.epoch, 10, Counts(stored=10))
    assert read(log).first == 0
    log.close()


@pytest.mark.parametrize("how", ["moved", "emptied", "replaced"])
def test_nothing_is_acknowledged_made_or_lost_without_the_directory(tmp_path: Path, how: str) -> None:
    """I9."""
    data, away, telemetry = tmp_path / "data", tmp_path / "away", Telemetry()
    clock = ManualClock()
    log = open_log(data, clock=clock, telemetry=telemetry)
    reader = log.reader("processor")
    written = fill(log, 200, message="x" * 100)
    assert len(segments(data)) > 2
    if how == "emptied":
        away.mkdir()
        (data / "segments").rename(away / "segments")
    else:
        data.rename(away)
        if how == "replaced":
            (data / "segments").mkdir(parents=True)
    before = {path for path in tmp_path.rglob("*") if path.is_relative_to(data)}
    for _ in range(3):
        with pytest.raises(Retryable, match="directory"):
            log.publish([group(900, 4, "not written")])
    clock.advance(1)
    assert "directory" in (log.refuses() or "")
    assert isinstance(reader.poll(0, 1, 1), Assigned)
    with pytest.raises(Retryable, match="directory"):
        list(slices(reader))
    assert {path for path in tmp_path.rglob("*") if path.is_relative_to(data)} == before
    assert damaged(telemetry, "segment", "gap") == 0
    log.close()
    if how == "emptied":
        (away / "segments").rename(data / "segments")
    else:
        if how == "replaced":
            (data / "segments").rmdir()
            data.rmdir()
        away.rename(data)
    log = open_log(data)
    reading = read(log)
    assert (reading.values, reading.lost) == (written, 0)
    log.close()


def test_files_of_the_log_are_for_their_user_only(tmp_path: Path) -> None:
    log = open_log(tmp_path / "data")
    fill(log, 1)
    modes = {path.stat().st_mode & 0o777 for path in (tmp_path / "data").rglob("*") if path.is_file()}
    assert modes == {0o600}
    assert {(tmp_path / "data" / name).stat().st_mode & 0o777 for name in (".", "segments")} == {0o700}
    log.close()
