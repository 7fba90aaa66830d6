"""One owner per directory."""

import errno
import fcntl
import os
import stat
from pathlib import Path

import pytest

from parsec.adapters.log.lock import DirectoryLock
from parsec.core.errors import Fatal
from tests.support.logs import open_log


def test_a_second_owner_is_told_who_holds_the_directory(tmp_path: Path) -> None:
    lock = DirectoryLock.acquire(tmp_path)
    with pytest.raises(Fatal) as refused:
        DirectoryLock.acquire(tmp_path)
    assert str(tmp_path) in str(refused.value)
    assert str(os.getpid()) in str(refused.value)
    lock.release()
    lock.release()
    DirectoryLock.acquire(tmp_path).release()


def test_the_directory_is_made_and_a_file_in_its_place_is_fatal(tmp_path: Path) -> None:
    DirectoryLock.acquire(tmp_path / "a" / "b").release()
    (tmp_path / "file").touch()
    with pytest.raises(Fatal, match=r"cannot be created or written: .*file is a file, not a directory: choose another"):
        DirectoryLock.acquire(tmp_path / "file")


def test_a_log_holds_its_directory_until_it_is_closed(tmp_path: Path) -> None:
    log = open_log(tmp_path)
    with pytest.raises(Fatal, match="in use by process"):
        open_log(tmp_path)
    log.close()
    open_log(tmp_path).close()


def test_a_deleted_lock_file_lets_nobody_in_and_nobody_is_told_to_move_files(tmp_path: Path) -> None:
    held = DirectoryLock.acquire(tmp_path)
    (tmp_path / "lock").unlink()
    for take in (DirectoryLock.acquire, DirectoryLock.share):
        with pytest.raises(Fatal, match=r"in use by process .*lock file was deleted.*Do not move or delete") as refused:
            take(tmp_path)
        assert str(os.getpid()) in str(refused.value)
    assert not (tmp_path / "lock").exists(), "the second start made another one"
    held.release()
    DirectoryLock.acquire(tmp_path).release()


def test_the_lock_of_the_file_alone_holds_too_as_an_earlier_version_takes_it(tmp_path: Path) -> None:
    with (tmp_path / "lock").open("w") as file:
        file.write(f"{os.getpid()}\n")
        file.flush()
        fcntl.flock(file, fcntl.LOCK_EX)
        for take in (DirectoryLock.acquire, DirectoryLock.share):
            with pytest.raises(Fatal, match=f"in use by process {os.getpid()};"):
                take(tmp_path)


def test_readers_share_a_directory_and_keep_an_owner_out(tmp_path: Path) -> None:
    first, second = DirectoryLock.share(tmp_path), DirectoryLock.share(tmp_path)
    assert not (tmp_path / "lock").exists()
    first.release()
    with pytest.raises(Fatal, match="in use by"):
        DirectoryLock.acquire(tmp_path)
    second.release()
    DirectoryLock.acquire(tmp_path).release()


def test_what_it_makes_is_for_its_user_only(tmp_path: Path) -> None:
    DirectoryLock.acquire(tmp_path / "data").release()
    assert [(tmp_path / name).stat().st_mode & 0o777 for name in ("data", "data/lock")] == [0o700, 0o600]


def test_where_directories_cannot_be_locked_the_file_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lock = fcntl.flock

    def files_only(fd: int, kind: int) -> None:
        if stat.S_ISDIR(os.fstat(fd).st_mode):
            raise OSError(errno.EBADF, "Bad file descriptor")
        lock(fd, kind)

    monkeypatch.setattr(fcntl, "flock", files_only)
    held = DirectoryLock.acquire(tmp_path)
    with pytest.raises(Fatal, match="in use by process"):
        DirectoryLock.acquire(tmp_path)
    held.release()
    DirectoryLock.acquire(tmp_path).release()
