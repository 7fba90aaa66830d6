"""Back up the small files that define the store's tables, and put them back where they differ.

In: the store's directory. Out: two copies of the definitions, each with its own checksum; damaged files restored from
them, the damaged ones kept beside them as `*.corrupt`, an ERROR line each. Errors: OSError.
Next: parsec.adapters.store.chdb.engine.

Invariants, cited by tests
 1. A definition that differs from the copies by one byte is damaged: one flipped bit of a table's UUID still parses,
    and shows an empty table.
 2. Unless `tables.changing` exists: it is there from before a statement changes definitions until the copies are
    written again. A process that is killed in between leaves definitions that are newer than the copies; those are kept
    unless the engine refuses to open.
 3. A copy whose checksum is wrong is never used, and is written again.
 4. A power cut keeps the order of a migration's statements. Otherwise a table's new form could be there, with the
    record that it was made, and without the name to which its former form moved.
"""

import hashlib
import os
import re
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec
import structlog

from parsec.adapters.store.chdb import sync

_log = structlog.get_logger(__name__)

_TABLES = "store/*/*/*.sql"
_FILES = ("metadata/*.sql", _TABLES, "store/*/*/format_version.txt")
_LINKS = ("metadata/*", "data/*/*")
_MUTATIONS = "store/*/*/mutation_*.txt"
_COPIES = ("tables.json", "tables.2.json")
_CHANGING = "tables.changing"
_DIGEST = 64
_OWNER_MAY = stat.S_IRUSR | stat.S_IWUSR
_DEFINES = re.compile(
    r"\s*(?:--[^\n]*\n\s*)*(?:CREATE|DROP|RENAME|EXCHANGE|UNDROP|REPLACE|ATTACH|DETACH|ALTER\s+TABLE\s+\S+\s+"
    r"(?!(?:ATTACH|DETACH|DELETE|UPDATE|REPLACE|MOVE|FREEZE|MATERIALIZE|FETCH|DROP\s+(?:DETACHED|PART|PARTITION))\b))",
    re.IGNORECASE,
)
_NEW_TABLE = re.compile(r"CREATE TABLE IF NOT EXISTS (\w+)")
_UUID = re.compile(r"UUID '([0-9a-f-]{36})'")
_COLUMN = re.compile(r"^\s*`([^`]+)` ", re.MULTILINE)


class _Definitions(msgspec.Struct):
    """By the name below the store's directory: the text of each file, the target of each symbolic link. `checked`: the
    copy had a checksum, which those of earlier versions have not."""

    files: dict[str, str]
    links: dict[str, str] = {}
    checked: bool = True

    def columns_of(self, uuid: str) -> set[str]:
        """The columns of the table with this UUID."""
        return {column for text in self.files.values() if uuid in _UUID.findall(text) for column in _columns(text)}


class SchemaBackup:
    """Of one directory, used by one process at a time, from any thread."""

    def __init__(self, store: Path) -> None:
        self._store = store
        self._changing = store / _CHANGING
        self._lock = threading.RLock()

    def changes_definitions(self, statement: str) -> bool:
        """Whether a statement writes definitions. CREATE IF NOT EXISTS writes none for a table that is there."""
        if not _DEFINES.match(statement):
            return False
        created = _NEW_TABLE.search(statement)
        saved = self._saved() if created else None
        return not (created and saved and any(name.endswith(f"/{created[1]}.sql") for name in saved.files))

    @contextmanager
    def changing(self, *, save: bool) -> Iterator[None]:
        """Around a statement that changes definitions. Without `save`, a call of `save` follows, and what the statement
        did survives a power cut before the next one begins."""
        with self._lock:
            if not self._changing.exists():
                self.restore()  # what is damaged now must not become the copy
                _write(self._changing, b"")
                sync.directory(self._store)
            try:
                yield
                if not save:
                    sync.file_system(self._store)
            finally:
                if save:
                    self.save()

    def save(self) -> None:
        """Called when the store is open and its tables are as they should be."""
        with self._lock, suppress(OSError, UnicodeDecodeError):  # for example a full disk; the next start tries again
            # Of a dropped table the engine leaves its directory for a while.
            found = sorted(path for pattern in _FILES for path in self._store.glob(pattern) if path.is_file())
            files = [path for path in found if not _was_dropped(self._store, path.parent.name)]
            links = sorted(path for pattern in _LINKS for path in self._store.glob(pattern) if path.is_symlink())
            content = msgspec.json.encode(
                _Definitions(
                    {self._name(path): path.read_text() for path in files},
                    {self._name(path): str(path.readlink()) for path in links},
                )
            )
            content = hashlib.sha256(content).hexdigest().encode() + b"\n" + content
            for name in _COPIES:
                copy = self._store / name
                if _read(copy) != content:
                    fresh = copy.with_suffix(".new")
                    _write(fresh, content)
                    fresh.replace(copy)
                    sync.directory(self._store)
            self._changing.unlink(missing_ok=True)

    def set_aside_mutations(self) -> bool:
        """The engine does not open with the definitions: one of the files that name mutations may be damaged. Without
        them it forgets those that have not ended: a day that is being dropped is dropped again. False: there are
        none."""
        mutations = sorted(self._store.glob(_MUTATIONS))
        for path in mutations:
            self._put_aside(path)
            _log.error(
                "A file of the store that names a mutation may be damaged. It was set aside.", file=self._name(path)
            )
        return bool(mutations)

    def restore(self, *, refused: bool = False) -> None:
        """Restores definitions that are missing or differ. `refused`: the engine does not open with those on disk, so
        that they are replaced even if they may be newer than the copies."""
        with self._lock:
            self._report_copies()
            if refused:
                self._grant_everything()
            saved = self._saved()
            if saved is None:
                return
            newer = not refused and (self._changing.exists() or not saved.checked)
            defined = self._defined() if newer else frozenset()
            if not newer:
                self._restore_table_directories(saved)
                self._put_aside_other_names(saved)
                for name, target in saved.links.items():
                    self._restore_link(self._store / name, target)
            for name, text in saved.files.items():
                path = self._store / name
                if newer and (path.exists() or self._has_moved(text, defined)):
                    continue
                self._restore_file(path, text.encode())

    def _defined(self) -> frozenset[str]:
        """The tables, by UUID, whose definitions are there."""
        texts = (_read(path) or b"" for path in self._store.glob(_TABLES))
        return frozenset(uuid for text in texts for uuid in _UUID.findall(text.decode(errors="replace")))

    def _has_moved(self, text: str, defined: frozenset[str]) -> bool:
        """Whether the table that a text defines was dropped, or has another name now."""
        return any(uuid in defined or _was_dropped(self._store, uuid) for uuid in _UUID.findall(text))

    def _saved(self) -> _Definitions | None:
        """From the first copy with the right checksum; None: there is none."""
        copies = (_read(self._store / name) for name in _COPIES)
        return next((decoded for copy in copies if copy is not None and (decoded := _decode(copy)) is not None), None)

    def _restore_file(self, path: Path, content: bytes) -> None:
        self._make_directory(path.parent)
        changed = _grant(path, _OWNER_MAY)
        present = _read(path)
        if present == content:
            if changed:
                self._report(path)
            return
        if present is not None:
            self._put_aside(path)
        _write(path, content)
        sync.directory(path.parent)
        self._report(path)

    def _restore_link(self, path: Path, target: str) -> None:
        if path.is_symlink() and str(path.readlink()) == target:
            return
        self._make_directory(path.parent)
        if path.is_symlink() or path.exists():
            self._put_aside(path)
        path.symlink_to(target)
        self._report(path)

    def _grant_everything(self) -> None:
        for directory, _, files in os.walk(self._store):
            _grant(Path(directory), stat.S_IRWXU)
            for path in (Path(directory, name) for name in files):
                if not path.is_symlink() and _grant(path, _OWNER_MAY):
                    self._report(path)

    def _make_directory(self, path: Path) -> None:
        """One that the owner may use, with those above it, in place of anything else."""
        if path != self._store:
            self._make_directory(path.parent)
        _grant(path, stat.S_IRWXU)
        if not path.is_dir():
            if path.exists() or path.is_symlink():
                self._put_aside(path)
            path.mkdir()

    def _restore_table_directories(self, saved: _Definitions) -> None:
        """A table's directory under another name, as after one flipped bit, gets its own back."""
        known = {(self._store / name).parent for name in saved.files}
        for other in self._store.glob("store/*/*"):
            part = None if other in known or _was_dropped(self._store, other.name) else _first_part(other)
            if part is None:
                continue
            columns = _columns((_read(part / "columns.txt") or b"").decode(errors="replace"))
            fits = [path for path in known - {other} if not path.exists() and columns <= saved.columns_of(path.name)]
            if len(fits) == 1 and columns:
                fits[0].parent.mkdir(parents=True, exist_ok=True)
                other.rename(fits[0])
                self._report(fits[0])
            else:
                _log.error(
                    "A directory of the store has parts that belong to no table. It is left as it is.",
                    directory=str(other),
                )

    def _put_aside_other_names(self, saved: _Definitions) -> None:
        """Definitions of saved tables under other names: with two of one UUID the engine does not open."""
        known = {uuid for text in saved.files.values() for uuid in _UUID.findall(text)}
        for path in self._store.glob(_TABLES):
            text = (_read(path) or b"").decode(errors="replace")
            if self._name(path) not in saved.files and known.intersection(_UUID.findall(text)):
                self._put_aside(path)

    def _put_aside(self, path: Path) -> None:
        path.replace(self._store / f"{self._name(path).replace('/', '-')}.corrupt")  # file names alone repeat

    def _report_copies(self) -> None:
        for name in _COPIES:
            copy = _read(self._store / name)
            if copy is not None and _decode(copy) is None:
                _log.error("A copy of the store's definitions is damaged; a new one is made.", file=name)

    def _report(self, path: Path) -> None:
        _log.error(
            "A file of the store was damaged or missing; it was restored from its backup.", file=self._name(path)
        )

    def _name(self, path: Path) -> str:
        return str(path.relative_to(self._store))


def _decode(copy: bytes) -> _Definitions | None:
    """None: it is damaged."""
    try:
        if copy.startswith(b"{"):
            return _Definitions(msgspec.json.decode(copy, type=dict[str, str]), checked=False)
        if hashlib.sha256(copy[_DIGEST + 1 :]).hexdigest().encode() + b"\n" != copy[: _DIGEST + 1]:
            return None
        return msgspec.json.decode(copy[_DIGEST + 1 :], type=_Definitions)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None


def _first_part(table: Path) -> Path | None:
    """A part that says which columns it has."""
    return next((path for path in sorted(table.glob("*_*_*_*")) if (path / "columns.txt").is_file()), None)


def _columns(text: str) -> set[str]:
    """Of a part's columns.txt, or of a table's definition."""
    return set(_COLUMN.findall(text))


def _was_dropped(store: Path, uuid: str) -> bool:
    return any(store.glob(f"metadata_dropped/*{uuid}*"))


def _grant(path: Path, needed: int) -> bool:
    """Gives the owner back what is needed of a path that exists. True: it lacked something."""
    try:
        mode = path.stat().st_mode
        if mode & needed == needed:
            return False
        path.chmod(stat.S_IMODE(mode) | needed)
    except FileNotFoundError:
        return False
    return True


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
