"""What a start that failed says."""

import errno
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


def test_a_file_system_without_blocks_is_never_full() -> None:
    assert _why(failure(None), "/proc/nope") == "cannot be opened"
