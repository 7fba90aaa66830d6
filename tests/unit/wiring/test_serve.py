"""What a start that failed says."""

import errno
import re
from pathlib import Path

import pytest

from parsec.adapters.log.files import Files
from parsec.core.errors import Fatal
from parsec.wiring.serve import _why


def failure(code: int | None) -> Fatal:
    error = Fatal("cannot be opened")
    error.__cause__ = None if code is None else OSError(code, "")
    return error


@pytest.mark.parametrize(
    ("code", "is_full"), [(errno.ENOSPC, True), (errno.EIO, True), (None, True), (errno.EACCES, False)]
)
def test_a_full_disk_is_named_where_the_error_fits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int | None, is_full: bool
) -> None:
    monkeypatch.setattr(Files, "free_bytes", lambda *_: 0)
    assert ("is full" in _why(failure(code), str(tmp_path))) == is_full


def test_an_error_without_a_cause_has_its_own_number(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Files, "free_bytes", lambda *_: 0)
    assert "is full" in _why(OSError(errno.ENOSPC, "No space left"), str(tmp_path))
    why = _why(PermissionError(errno.EACCES, "Permission denied", "/data/segments"), str(tmp_path))
    assert re.fullmatch(r"user \d+ may not use /data/segments: change its owner or permissions", why)


def test_a_directory_that_cannot_be_written_is_not_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Files, "free_bytes", lambda *_: 0)
    (tmp_path / "file").touch()
    why = _why(failure(None), str(tmp_path / "file" / "data"))
    assert "file is a file, not a directory" in why
    assert "is full" not in why


def test_a_file_system_without_blocks_is_never_full() -> None:
    assert _why(failure(None), "/proc/nope") == "cannot be opened"
