"""One owner per directory."""

import os
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
    with pytest.raises(Fatal, match="cannot be created or written"):
        DirectoryLock.acquire(tmp_path / "file")


def test_a_log_holds_its_directory_until_it_is_closed(tmp_path: Path) -> None:
    log = open_log(tmp_path)
    with pytest.raises(Fatal, match="in use by process"):
        open_log(tmp_path)
    log.close()
    open_log(tmp_path).close()
