"""Back up the small files that define the store's tables: a damaged one keeps the engine from opening.

In: the store's directory. Out: `tables.json` in it; damaged files restored from there, the damaged ones kept beside
them as `*.corrupt`. Errors: OSError. Next: parsec.adapters.store.chdb.engine.
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
    """Of one directory, used by one process at a time."""

    def __init__(self, store: Path) -> None:
        self._store = store
        self._backup = store / "tables.json"

    def save(self) -> None:
        """Called when the store is open and its tables are as they should be."""
        with suppress(OSError, UnicodeDecodeError):  # for example on a full disk; the next start tries again
            files = sorted(path for pattern in _FILES for path in self._store.glob(pattern))
            content = msgspec.json.encode({str(path.relative_to(self._store)): path.read_text() for path in files})
            if _read(self._backup) == content:
                return
            fresh = self._backup.with_suffix(".new")
            _write(fresh, content)
            fresh.replace(self._backup)
            sync.directory(self._store)

    def restore(self, *, missing_only: bool) -> None:
        """Restores files that are missing and, unless `missing_only`, files that differ.

        The backup may be the older one (a migration was killed before `save`), so files that differ are replaced only
        after the engine has refused to open.
        """
        try:
            saved = msgspec.json.decode(_read(self._backup) or b"{}", type=dict[str, str])
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            _log.warning("The backup of the table definitions is damaged; a new one is made.", why=str(error))
            return
        for name, text in saved.items():
            path = self._store / name
            present = _read(path)
            if present == text.encode() or (present is not None and missing_only):
                continue
            if present is not None:
                path.replace(self._store / f"{name.replace('/', '-')}.corrupt")  # file names alone repeat
            path.parent.mkdir(parents=True, exist_ok=True)
            _write(path, text.encode())
            _log.error("A file of the store was damaged or missing; it was restored from its backup.", file=name)


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
