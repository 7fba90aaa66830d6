"""Sync what the embedded engine leaves unsynced, so that what it reports as stored survives a power cut.

In: the directories of its tables. Out: names and files on disk. Errors: Fatal: after a failed sync the next one may
report success without having written anything. See docs/decisions/0004.
Next: parsec.adapters.store.chdb.engine.
"""

import ctypes
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from parsec.core.errors import Fatal

REMOVED_AT_START = "delete_tmp_"
"""Before the name of a part: the engine removes it when it opens."""
ROWS_FILE = "count.txt"


def directory(path: Path) -> None:
    """The names in a directory, with all that were renamed or removed."""
    with _fatal():
        _sync(path)


def file_system(path: Path) -> None:
    """Everything that this process or an earlier one left unsynced: one call for hundreds of parts."""
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


def part_directories(table: Path, *, inserted: bool) -> set[Path]:
    """The parts that inserts made, or all others. A part's name ends with its level or the number of a mutation, which
    is 0 only after an insert."""
    parts = (path for path in table.iterdir() if not path.name.startswith(("tmp_", REMOVED_AT_START)))
    return {path for path in parts if path.name.rpartition("_")[2].isdigit() and path.name.endswith("_0") == inserted}


def rows_of(part: Path) -> int:
    """0 where its files do not tell."""
    try:
        return int((part / ROWS_FILE).read_bytes())
    except (OSError, ValueError):
        return 0


class MergedParts:
    """The merged parts of these tables. Those that are there at first are synced by the caller."""

    def __init__(self, tables: Sequence[Path]) -> None:
        self._synced = {table: part_directories(table, inserted=False) for table in tables}

    def sync(self) -> None:
        """Syncs all files of new parts, then the parts' names."""
        with _fatal():
            for table, synced in self._synced.items():
                merged = part_directories(table, inserted=False)
                for part in merged - synced:
                    _sync_part(part)
                _sync(table)
                self._synced[table] = merged


def _sync_part(part: Path) -> None:
    # A part that is removed meanwhile was merged into another one.
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
        raise Fatal(f"the store cannot be synced to disk; check the disk, then start again: {error}") from error
