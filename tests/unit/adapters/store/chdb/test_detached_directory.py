"""What is detached is bounded: what is stored again leaves first, what is missing last, and its name stays."""

from pathlib import Path

import pytest

from parsec.adapters.store.chdb.detached_directory import NEEDED_S, DetachedDirectory, prune

RETENTION_S = 30 * 86_400.0


@pytest.fixture
def directory(tmp_path: Path) -> DetachedDirectory:
    (tmp_path / "detached").mkdir()
    return DetachedDirectory(tmp_path)


def part(directory: DetachedDirectory, name: str, size: int = 100) -> Path:
    path = directory.path / name
    path.mkdir()
    (path / "fields.proj").mkdir()
    (path / "fields.proj" / "data.bin").write_bytes(bytes(size // 2))
    (path / "data.bin").write_bytes(bytes(size - size // 2))
    (path / "count.txt").write_text("7")
    return path


def names(directory: DetachedDirectory) -> list[str]:
    return [path.name for path in directory.entries()]


def now(directory: DetachedDirectory) -> float:
    return max(path.stat().st_ctime for path in directory.entries()) + 1


def test_parts_under_their_own_names_are_missing(directory: DetachedDirectory) -> None:
    for name in ("20261130_1_2_1", "all_3_3_0_5", "covered-by-broken_20261130_1_1_0", "ignored_20261130_2_2_0"):
        part(directory, name)
    directory.adopt()
    assert [each.name for each in directory.damaged()] == ["20261130_1_2_1", "all_3_3_0_5"]
    assert [each.rows for each in directory.damaged()] == [7, 7]
    assert directory.has("all_3_3_0_5")
    assert not directory.has("20261130_1_1_0")


@pytest.mark.parametrize("prefix", ["broken", "broken-on-start"])
def test_a_part_that_is_known_as_broken_keeps_its_name(directory: DetachedDirectory, prefix: str) -> None:
    part(directory, f"{prefix}_20261130_1_2_1")
    directory.adopt()
    assert names(directory) == [f"{prefix}_20261130_1_2_1"]
    assert [each.name for each in directory.damaged()] == ["20261130_1_2_1"]


def test_a_part_that_breaks_twice_is_kept_twice(directory: DetachedDirectory) -> None:
    part(directory, "broken_all_1_1_0")
    part(directory, "broken-on-start_all_1_1_0_try2")
    part(directory, "all_1_1_0")
    directory.adopt()
    assert len(directory.damaged()) == 3


def test_what_is_stored_again_is_not_missing(directory: DetachedDirectory) -> None:
    part(directory, "broken-on-start_all_1_1_0")
    assert directory.mark_restored()
    assert not directory.damaged()
    assert not directory.mark_restored()
    assert names(directory) == ["restored_broken-on-start_all_1_1_0"]


def test_no_more_is_freed_than_needed_and_nothing_that_repair_needs(directory: DetachedDirectory) -> None:
    for name in ("restored_broken_all_1_1_0", "restored_broken_all_2_2_0", "broken_all_3_3_0"):
        part(directory, name)
    assert prune([directory], now(directory), RETENTION_S, most_bytes=300) == ({}, 300)
    freed, left = prune([directory], now(directory), RETENTION_S, most_bytes=200)
    assert (list(freed), left) == (["restored_broken_all_1_1_0"], 200)
    freed, left = prune([directory], now(directory), RETENTION_S, most_bytes=10)
    assert (list(freed), left) == (["restored_broken_all_2_2_0"], 100)
    assert names(directory) == ["broken_all_3_3_0"]


def test_of_a_missing_part_its_name_and_count_stay(directory: DetachedDirectory) -> None:
    part(directory, "broken_all_3_3_0")
    freed, left = prune([directory], now(directory) + NEEDED_S, RETENTION_S, most_bytes=10)
    assert (freed, left) == ({"broken_all_3_3_0": 100}, 0)
    assert [(each.name, each.rows) for each in directory.damaged()] == [("all_3_3_0", 7)]
    assert prune([directory], now(directory) + NEEDED_S, RETENTION_S, most_bytes=10) == ({}, 0)


def test_after_the_retention_nothing_is_missing_any_more(directory: DetachedDirectory) -> None:
    part(directory, "broken_all_3_3_0")
    assert prune([directory], now(directory) + RETENTION_S, RETENTION_S, most_bytes=1000) == ({}, 0)
    assert not names(directory)
    directory.path.rmdir()
    assert prune([directory], 0.0, RETENTION_S, most_bytes=1000) == ({}, 0)
