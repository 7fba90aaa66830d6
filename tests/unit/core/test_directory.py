"""A directory that cannot be used says why."""

import os
from pathlib import Path

import pytest

from parsec.core import directory
from parsec.core.directory import why_unusable


def test_a_directory_that_can_be_used_or_made_has_no_problem(tmp_path: Path) -> None:
    assert why_unusable(tmp_path) is None
    assert why_unusable(tmp_path / "a" / "b") is None


@pytest.mark.parametrize("below", ["", "data", "data/parsec"])
def test_a_file_in_the_way_is_named(tmp_path: Path, below: str) -> None:
    (tmp_path / "file").touch()
    why = why_unusable(tmp_path / "file" / below)
    assert why == f"{tmp_path}/file is a file, not a directory: choose another directory"


def test_a_link_that_leads_nowhere_is_named(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("gone")
    (tmp_path / "loop").symlink_to("loop")
    assert "link is a broken link" in str(why_unusable(tmp_path / "link" / "data"))
    assert "symbolic links" in str(why_unusable(tmp_path / "loop" / "data"))


@pytest.mark.parametrize("name", ["a" * 300, "/".join(["a" * 200] * 30)])
def test_a_path_may_be_too_long(tmp_path: Path, name: str) -> None:
    assert "path is too long" in str(why_unusable(tmp_path / name))


def test_a_read_only_file_system_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.statvfs(tmp_path)
    read_only = os.statvfs_result((*real[:8], real.f_flag | os.ST_RDONLY, real.f_namemax))
    monkeypatch.setattr(directory.os, "statvfs", lambda _: read_only)  # type: ignore[attr-defined]
    assert f"the file system of {tmp_path} is read-only" in str(why_unusable(tmp_path / "new"))


def test_missing_permissions_name_the_user_and_the_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(directory.os, "access", lambda *_, **__: False)  # type: ignore[attr-defined]
    assert f"user {os.geteuid()} cannot write in {tmp_path}:" in str(why_unusable(tmp_path / "new"))
