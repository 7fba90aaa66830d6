"""What the store syncs beside the engine: names of tables, and merged parts with all their files, once."""

import os
from pathlib import Path

import pytest

from parsec.adapters.store.chdb import sync
from parsec.core.errors import Fatal


@pytest.fixture
def synced(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Paths in the order in which the kernel was asked to sync them."""
    paths: list[Path] = []
    fsync = os.fsync

    def record(fd: int) -> None:
        paths.append(Path(f"/proc/self/fd/{fd}").readlink())
        fsync(fd)

    monkeypatch.setattr(os, "fsync", record)
    return paths


def part(table: Path, name: str) -> Path:
    directory = table / name
    directory.mkdir()
    (directory / "data.bin").write_bytes(b"x")
    return directory


def test_a_merged_part_is_synced_once_before_its_name(tmp_path: Path, synced: list[Path]) -> None:
    for name in (
        "20261124_1_1_0",
        "20261124_1_5_1",
        "tmp_merge_20261124_1_9_2",
        "delete_tmp_20261124_1_4_1",
        "detached",
    ):
        part(tmp_path, name)
    merged = sync.MergedParts([tmp_path])
    new = [part(tmp_path, "20261124_1_9_2"), part(tmp_path, "20261124_8_8_0_12")]
    part(tmp_path, "20261124_9_9_0")
    merged.sync()
    assert {*synced[:4]} == {path for each in new for path in (each, each / "data.bin")}
    assert all(synced.index(each / "data.bin") < synced.index(each) for each in new)
    assert synced[4:] == [tmp_path]
    merged.sync()
    assert synced[5:] == [tmp_path]


def test_a_part_that_goes_meanwhile_needs_no_sync(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    merged = sync.MergedParts([tmp_path])
    gone = part(tmp_path, "20261124_1_5_1")
    names = iter([[gone], [gone / "data.bin"]])
    monkeypatch.setattr(Path, "iterdir", lambda _: iter(next(names)))
    (gone / "data.bin").unlink()
    merged.sync()


def test_what_cannot_be_synced_is_fatal(tmp_path: Path) -> None:
    for call in (sync.directory, sync.file_system):
        with pytest.raises(Fatal, match="cannot be synced"):
            call(tmp_path / "not there")
