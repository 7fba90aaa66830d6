"""Modes of files in the data directory, and what happens when it goes away and comes back."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from parsec.core.held_directory import HeldDirectory
from parsec.wiring.data_dir import DirectoryWatch, make_private


@pytest.fixture(autouse=True)
def umask() -> Iterator[None]:
    before = os.umask(0o022)
    yield
    os.umask(before)


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def test_files_of_parsec_are_tightened_and_others_are_left(tmp_path: Path) -> None:
    (tmp_path / "store" / "a" / "b").mkdir(parents=True)
    (tmp_path / "segments").mkdir()
    ours = [
        *(
            "lock",
            "mark",
            "state.db",
            "state.db-wal",
            "state.db-shm",
            "state.db.corrupt",
            "keys.toml",
            "keys.toml.lock",
        ),
        *("segments/00000000000000000000.log", "store/a/b/data.bin", "store/tables.json"),
    ]
    for name in (*ours, "notes.txt"):
        (tmp_path / name).touch()
    (tmp_path / "shared.toml").touch()
    (tmp_path / "keys.toml.link").symlink_to(tmp_path / "shared.toml")
    make_private(tmp_path)
    assert {mode(tmp_path / name) for name in ours} == {0o600}
    assert {mode(tmp_path / name) for name in ("store", "store/a", "store/a/b", "segments")} == {0o700}
    assert {mode(tmp_path / name) for name in ("notes.txt", "shared.toml")} == {0o644}
    (tmp_path / "later").touch()
    (tmp_path / "directory").mkdir()
    assert (mode(tmp_path / "later"), mode(tmp_path / "directory")) == (0o600, 0o700)


def test_a_directory_that_does_not_exist_yet_is_no_fault(tmp_path: Path) -> None:
    make_private(tmp_path / "data")
    assert not (tmp_path / "data").exists()


def test_the_process_ends_once_the_directory_is_back(tmp_path: Path) -> None:
    ended: list[bool] = []
    (tmp_path / "data" / "store").mkdir(parents=True)
    held = [HeldDirectory(tmp_path / "data"), HeldDirectory(tmp_path / "data" / "store")]
    watch = DirectoryWatch(held, lambda: ended.append(True))
    watch.tick()
    assert watch.why() is None
    (tmp_path / "data").rename(tmp_path / "away")
    for _ in range(3):
        watch.tick()
    assert "was moved or deleted" in (watch.why() or "")
    assert not ended
    (tmp_path / "away" / "store").rename(tmp_path / "elsewhere")
    (tmp_path / "away").rename(tmp_path / "data")
    watch.tick()
    assert not ended, "one of them is still away"
    (tmp_path / "elsewhere").rename(tmp_path / "data" / "store")
    for _ in range(3):
        watch.tick()
    assert ended == [True]


def test_where_nothing_is_held_nothing_is_missed() -> None:
    watch = DirectoryWatch([], lambda: None)
    watch.tick()
    assert watch.why() is None
