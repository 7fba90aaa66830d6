"""A stopped log, read without a change: what is whole, what is torn, what is damaged and how much is gone."""

import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from parsec.adapters.log.lock import DirectoryLock
from parsec.adapters.log.offline import FileCheck, open_offline
from parsec.adapters.log.writer import NAMES as CHECKPOINTS
from parsec.core.errors import Fatal, Retryable
from tests.support.fake_files import FakeFiles, Fault
from tests.support.logs import fill, group, open_log, segments


@pytest.fixture
def written(tmp_path: Path) -> dict[int, bytes]:
    """A stopped log of several segments in `tmp_path`, and what is in it."""
    log = open_log(tmp_path)
    found = fill(log, 30)
    log.close()
    assert len(segments(tmp_path)) >= 4
    return found


def checked(directory: Path) -> list[FileCheck]:
    logs = open_offline(directory)
    try:
        return [row for log in logs for row in log.check()]
    finally:
        for log in logs:
            log.close()


def exported(directory: Path, begin: int = 0, end: int | None = None) -> tuple[dict[int, bytes], int]:
    (log,) = open_offline(directory)
    found: dict[int, bytes] = {}
    lost = 0
    expected = begin
    for lines in log.lines(begin, end):
        assert lines.first == expected + lines.lost, "an offset is unaccounted for"
        found.update(enumerate(lines.values, lines.first))
        lost += lines.lost
        expected = lines.first + len(lines.values)
    log.close()
    return found, lost


def snapshot(directory: Path) -> dict[str, tuple[bytes, int]]:
    return {
        str(path.relative_to(directory)): (path.read_bytes() if path.is_file() else b"", path.stat().st_mtime_ns)
        for path in directory.rglob("*")
    }


def test_a_sound_log_is_sound_and_stays_as_it_is(tmp_path: Path, written: dict[int, bytes]) -> None:
    before = snapshot(tmp_path)
    rows = checked(tmp_path)
    assert {row.verdict for row in rows} == {"sound"}
    assert [row.file for row in rows] == [path.name for path in segments(tmp_path)]
    assert [row.bytes for row in rows] == [path.stat().st_size for path in segments(tmp_path)]
    assert [row.first for row in rows[1:]] == [row.end for row in rows[:-1]]
    assert sum(row.events for row in rows) == rows[-1].end == len(written)
    assert sum(row.frames for row in rows) == 30
    assert exported(tmp_path) == (written, 0)
    assert snapshot(tmp_path) == before


@pytest.mark.parametrize(
    ("begin", "end"), [(0, 0), (0, 1), (3, 8), (4, 5), (7, None), (149, 150), (150, None), (500, 600)]
)
def test_a_part_is_given_event_by_event(tmp_path: Path, written: dict[int, bytes], begin: int, end: int | None) -> None:
    expected = {offset: value for offset, value in written.items() if begin <= offset < (end or 10**9 * (end is None))}
    assert exported(tmp_path, begin, end) == (expected, 0)


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))


def cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def behead(path: Path) -> None:
    path.write_bytes(b"\0" * 48 + path.read_bytes()[48:])


@pytest.mark.parametrize("at", [1, -1])
@pytest.mark.parametrize("hurt", [flip, cut, behead, Path.unlink])
def test_damage_is_found_and_counted_and_left_alone(
    tmp_path: Path, written: dict[int, bytes], hurt: Callable[[Path], None], at: int
) -> None:
    hurt(segments(tmp_path)[at])
    before = snapshot(tmp_path)
    rows = checked(tmp_path)
    damaged = [row for row in rows if row.verdict == "damaged"]
    assert len(damaged) == 1
    assert damaged[0].why
    found, lost = exported(tmp_path)
    assert found.items() <= written.items()
    assert damaged[0].missing == lost == len(written) - len(found) > 0
    assert rows[-1].end == len(written)
    assert (damaged[0].damaged_bytes > 0) == (hurt is not Path.unlink)
    assert snapshot(tmp_path) == before
    log = open_log(tmp_path)
    assert log.end == len(written), "the log agrees"
    log.close()


def test_a_torn_tail_is_no_damage_unless_no_checkpoint_says_so(tmp_path: Path) -> None:
    log = open_log(tmp_path)
    written = fill(log, 3)
    shutil.copytree(tmp_path, tmp_path / "killed")
    log.close()
    killed = tmp_path / "killed"
    (path,) = segments(killed)
    torn = path.read_bytes() + path.read_bytes()[48:200]
    path.write_bytes(torn)
    (row,) = checked(killed)
    assert (row.verdict, row.events, row.missing) == ("torn tail", 15, 0)
    assert exported(killed) == (written, 0)
    assert path.read_bytes() == torn
    for name in CHECKPOINTS:
        (killed / name).unlink()
    copy, row = checked(killed)
    assert (copy.file, copy.verdict) == ("mark", "damaged")
    assert (row.verdict, row.damaged_bytes) == ("damaged", 152)


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_a_damaged_copy_of_the_checkpoint_is_named(tmp_path: Path, written: dict[int, bytes], name: str) -> None:
    flip(tmp_path / name)
    rows = checked(tmp_path)
    assert [(row.file, row.verdict) for row in rows if row.verdict != "sound"] == [(name, "damaged")]
    assert sum(row.events for row in rows) == len(written)


def test_what_was_left_behind_a_cut_is_nobodys_and_no_damage(tmp_path: Path) -> None:
    """I4 of the log: the next segment begins where the doubtful one ends."""
    files = FakeFiles()
    log = open_log(tmp_path, files=files)
    written = fill(log, 1)
    files.fail(Fault("sync", errno.EIO))
    files.fail(Fault("truncate", errno.EIO))
    with pytest.raises(Retryable):
        log.publish([group(900, 4, "in doubt")])
    written.update(fill(log, 1))
    log.close()
    for path in [*files.names(".log"), *(tmp_path / name for name in CHECKPOINTS)]:
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(files.content(path))
    assert b"in doubt" in segments(tmp_path)[0].read_bytes()
    assert [row.verdict for row in checked(tmp_path)] == ["sound", "sound"]
    assert exported(tmp_path) == (written, 0)


def test_spools_are_logs_too(tmp_path: Path, written: dict[int, bytes]) -> None:
    for n in range(2):
        spool = open_log(tmp_path / "spool" / str(n))
        fill(spool, 1)
        spool.close()
    flip(segments(tmp_path / "spool" / "1")[0])
    rows = checked(tmp_path)
    assert {row.log for row in rows} == {"log", "spool/0", "spool/1"}
    assert [row.log for row in rows if row.verdict == "damaged"] == ["spool/1"]


def test_a_directory_in_use_is_left_alone(tmp_path: Path, written: dict[int, bytes]) -> None:
    log = open_log(tmp_path)
    with pytest.raises(Fatal, match=f"in use by process {os.getpid()}"):
        open_offline(tmp_path)
    log.close()
    reading = open_offline(tmp_path)
    again = open_offline(tmp_path)
    (tmp_path / "lock").write_text("99999999\n")
    with pytest.raises(Fatal, match=f"in use by process {os.getpid()};"):
        open_log(tmp_path)
    for each in (*reading, *again):
        each.close()
    open_log(tmp_path).close()


def test_a_spool_in_use_lets_go_of_the_log(tmp_path: Path, written: dict[int, bytes]) -> None:
    spool = open_log(tmp_path / "spool" / "0")
    with pytest.raises(Fatal, match="in use"):
        open_offline(tmp_path)
    DirectoryLock.acquire(tmp_path).release()
    spool.close()


def test_a_copy_without_a_lock_can_be_read_and_gets_none(tmp_path: Path, written: dict[int, bytes]) -> None:
    (tmp_path / "lock").unlink()
    assert exported(tmp_path) == (written, 0)
    assert not (tmp_path / "lock").exists()


def test_a_directory_without_a_log_is_told(tmp_path: Path) -> None:
    with pytest.raises(Fatal, match="has no log"):
        open_offline(tmp_path / "nothing")
    assert not (tmp_path / "nothing").exists()
