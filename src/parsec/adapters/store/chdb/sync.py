"""What the embedded engine leaves unsynced is synced here, so that what it reports as stored survives a power cut.

In: the directories of its tables. Out: names and files on the medium. Errors: Fatal, because what could not be synced
once may be called clean by the next sync without having been written. Decision 0004. Next: nothing.
"""

import ctypes
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from parsec.core.errors import Fatal


def directory(path: Path) -> None:
    """The names in it, and those renamed or removed."""
    with _fatal():
        _sync(path)


def file_system(path: Path) -> None:
    """All that this process or an earlier one left unsynced of any file: hundreds of parts cost one call."""
    library = ctypes.CDLL(None, use_errno=True)
    with _fatal():
        if not hasattr(library, "syncfs"):
            os.sync()
            return
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            if library.syncfs(fd) != 0:
                raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
        finally:
            os.close(fd)


def parts(table: Path, *, inserted: bool) -> set[Path]:
    """Those that an insert made, or all others. Names end with a level or the number of a mutation, which is 0 only
    after an insert."""
    made = (path for path in table.iterdir() if not path.name.startswith(("tmp_", "delete_tmp_")))
    return {path for path in made if path.name.rpartition("_")[2].isdigit() and path.name.endswith("_0") == inserted}


class MergedParts:
    """Parts of these tables that no insert made. The caller syncs all that are there now."""

    def __init__(self, tables: Sequence[Path]) -> None:
        self._safe = {table: parts(table, inserted=False) for table in tables}

    def settle(self) -> None:
        """Syncs new ones with all their files, then their names."""
        with _fatal():
            for table, safe in self._safe.items():
                merged = parts(table, inserted=False)
                for part in merged - safe:
                    _sync_part(part)
                _sync(table)
                self._safe[table] = merged


def _sync_part(part: Path) -> None:
    # A part that is removed meanwhile needs nothing: another one has taken its place.
    with suppress(FileNotFoundError):
        for file in part.iterdir():
            _sync(file)
        _sync(part)


def _sync(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


@contextmanager
def _fatal() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise Fatal(f"the store cannot be synced: {error}") from error
