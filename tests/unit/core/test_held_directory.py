"""Whether a directory is still the one at its path."""

from pathlib import Path

import pytest

from parsec.core.held_directory import HeldDirectory


def held(directory: Path) -> HeldDirectory:
    directory.mkdir()
    (directory / "file").touch()
    return HeldDirectory(directory, directory.parent)


def test_changes_inside_of_it_are_none(tmp_path: Path) -> None:
    directory = held(tmp_path / "data")
    (tmp_path / "data" / "file").unlink()
    (tmp_path / "data" / "other").mkdir()
    assert directory.why_gone() is None
    assert not directory.is_back()


def test_a_moved_one_is_gone_for_good_and_is_seen_when_it_is_back(tmp_path: Path) -> None:
    directory = held(tmp_path / "data")
    (tmp_path / "data").rename(tmp_path / "away")
    assert "was moved or deleted" in (directory.why_gone() or "")
    assert not directory.is_back()
    (tmp_path / "away").rename(tmp_path / "data")
    assert "was moved or deleted" in (directory.why_gone() or "")
    assert directory.is_back()


@pytest.mark.parametrize("other", ["a directory", "a link", "a file"])
def test_another_in_its_place_is_not_it(tmp_path: Path, other: str) -> None:
    directory = held(tmp_path / "data")
    (tmp_path / "data").rename(tmp_path / "away")
    (tmp_path / "other").mkdir()
    if other == "a directory":
        (tmp_path / "data").mkdir()
    elif other == "a link":
        (tmp_path / "data").symlink_to(tmp_path / "other")
    else:
        (tmp_path / "data").touch()
    assert "was replaced, or another one mounted over it" in (directory.why_gone() or "")
    assert not directory.is_back()


def test_a_link_to_it_is_it(tmp_path: Path) -> None:
    directory = held(tmp_path / "data")
    (tmp_path / "data").rename(tmp_path / "away")
    (tmp_path / "data").symlink_to(tmp_path / "away")
    assert directory.why_gone() is None


def test_a_path_that_never_was_is_not_missed(tmp_path: Path) -> None:
    assert HeldDirectory(tmp_path / "nothing").why_gone() is None


def test_a_renewable_directory_may_be_deleted_and_created_again_but_not_moved(tmp_path: Path) -> None:
    data, inner = tmp_path / "data", tmp_path / "data" / "inner"
    inner.mkdir(parents=True)
    directory = HeldDirectory(data, renewable=inner)
    assert (directory.why_gone(), directory.was_deleted()) == (None, False)
    inner.rmdir()
    assert (directory.why_gone(), directory.was_deleted()) == (None, True)
    inner.mkdir()
    directory.renew()
    assert (directory.why_gone(), directory.was_deleted()) == (None, False)
    inner.rename(tmp_path / "away")
    assert "was moved or deleted" in (directory.why_gone() or "")
    assert not directory.was_deleted()
    (tmp_path / "away").rename(inner)
    assert directory.is_back()
    directory.close()
    directory.close()
    assert not directory.was_deleted()
