"""The small files by which the engine knows its tables, kept twice: one that is damaged keeps the store from opening.

In: the store's directory. Out: `tables.json` in it, and damaged files put back from there, what stood in their place
beside it as `*.corrupt`. Errors: OSError. Next: nothing.
"""

import os
from contextlib import suppress
from pathlib import Path

import msgspec
import structlog

from parsec.adapters.store.chdb import sync

_log = structlog.get_logger(__name__)

_FILES = ("metadata/*.sql", "store/*/*/*.sql", "store/*/*/format_version.txt")


class SchemaBackup:
    """Of one directory. Used while nobody else opens it."""

    def __init__(self, store: Path) -> None:
        self._store = store
        self._copy = store / "tables.json"

    def keep(self) -> None:
        """Once the store is open and its tables are as they should be."""
        with suppress(OSError, UnicodeDecodeError):  # as on a full disk; the next start tries again
            files = sorted(path for pattern in _FILES for path in self._store.glob(pattern))
            content = msgspec.json.encode({str(path.relative_to(self._store)): path.read_text() for path in files})
            if _read(self._copy) == content:
                return
            fresh = self._copy.with_suffix(".new")
            _write(fresh, content)
            fresh.replace(self._copy)
            sync.directory(self._store)

    def mend(self, *, missing_only: bool) -> None:
        """Puts back those that are gone and, unless `missing_only`, those that are not as they were kept, which are set
        aside. The copy may be the older one (a migration that was killed before `keep`), so that a file which differs
        is replaced only once the engine has refused to open."""
        try:
            kept = msgspec.json.decode(_read(self._copy) or b"{}", type=dict[str, str])
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            _log.warning("The copy of the store's definitions is damaged; it is made anew.", why=str(error))
            return
        for name, text in kept.items():
            path = self._store / name
            present = _read(path)
            if present == text.encode() or (present is not None and missing_only):
                continue
            if present is not None:
                path.replace(self._store / f"{name.replace('/', '-')}.corrupt")  # names alone repeat
            path.parent.mkdir(parents=True, exist_ok=True)
            _write(path, text.encode())
            _log.error("A file of the store was damaged or gone; its copy was put in its place.", file=name)


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None


def _write(path: Path, content: bytes) -> None:
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
