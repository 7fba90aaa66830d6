"""The log's small state in SQLite: its id, limits of the offsets assigned, and the progress of each reader.

In: a handful of commits per second. Out: the same values after a power cut (WAL with synchronous=FULL: a commit is on
disk before the call returns, and so before segments are deleted because of it). Errors: Retryable while the disk
refuses, Fatal when the file breaks under a running process. A file that is damaged at start is quarantined as
`*.corrupt`, and a new one begun. Next: parsec.adapters.log.recovery.
"""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import apsw
import msgspec
import structlog

from parsec.core.errors import Fatal, Retryable
from parsec.ports.broker import Counts, Progress, Range
from parsec.telemetry import Telemetry

_SCHEMA = """
CREATE TABLE IF NOT EXISTS log (
    one INTEGER PRIMARY KEY CHECK (one = 1), version INTEGER NOT NULL, log_id TEXT NOT NULL,
    high_water INTEGER NOT NULL, segment INTEGER NOT NULL, durable INTEGER NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS reader (
    name TEXT PRIMARY KEY, start INTEGER NOT NULL, committed INTEGER NOT NULL,
    stored INTEGER NOT NULL, duplicate INTEGER NOT NULL, dead INTEGER NOT NULL, lost INTEGER NOT NULL,
    reserved_first INTEGER, reserved_last INTEGER, attempt INTEGER NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS cut (segment INTEGER PRIMARY KEY, size INTEGER NOT NULL) STRICT;
"""
_VERSION = 1
_FILES = ("", "-wal", "-shm")

_TEMPORARY = (
    apsw.FullError, apsw.IOError, apsw.BusyError, apsw.NoMemError, apsw.ReadOnlyError, apsw.CantOpenError,
)  # fmt: skip
"""The disk refuses, as a read-only file system does; it may be mended while Parsec runs."""

_log = structlog.get_logger(__name__)


class SavedLog(msgspec.Struct, frozen=True):
    """No offset at or above `high_water` was ever assigned; the newest segment begins at `segment`; all offsets below
    `durable` were durable once."""

    log_id: str
    high_water: int
    segment: int
    durable: int


class State:
    """Safe from any thread: calls take turns."""

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection
        self._turn = threading.Lock()

    @classmethod
    def open(cls, path: Path, telemetry: Telemetry) -> "State":
        """Opens or creates; a damaged file is quarantined and counted. Raises Retryable or Fatal."""
        try:
            connection = _connect(path)
        except (apsw.CorruptError, apsw.NotADBError, apsw.SQLError, apsw.ConstraintError) as error:
            kept = _quarantine(path)
            telemetry.log_damaged.labels(what="state").inc()
            _log.error("The log's state was damaged and quarantined. Readers start again at the oldest segment.",
                       file=str(path), why=str(error), kept=kept)  # fmt: skip
            with _translated():
                connection = _connect(path)
        except apsw.Error as error:
            raise Fatal(f"the log's state {path} cannot be opened: {error}") from error
        return cls(connection)

    @staticmethod
    def peek(path: Path) -> dict[str, Progress]:
        """Every reader by name, of a log that no process has open. Changes nothing. Raises Fatal."""
        try:
            connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
            try:
                row = connection.execute("SELECT log_id FROM log").fetchone()
                readers = connection.execute("SELECT * FROM reader").fetchall()
            finally:
                connection.close()
        except apsw.Error as error:
            raise Fatal(f"the log's state {path} cannot be read: {error}") from error
        return dict(_reader(row[0], each) for each in readers) if row else {}

    def load(self) -> SavedLog | None:
        """None for a new state, or one begun anew."""
        rows = self._run("SELECT log_id, high_water, segment, durable FROM log")
        return SavedLog(*rows[0]) if rows else None

    def save(self, log: SavedLog) -> None:
        """Also forgets the cut of a segment that begins anew."""
        with self._turn, _translated(), self._connection:
            self._connection.execute("DELETE FROM cut WHERE segment >= ?", (log.segment,))
            self._connection.execute(
                "INSERT INTO log VALUES (1, ?, ?, ?, ?, ?) ON CONFLICT (one) DO UPDATE SET"
                " high_water = excluded.high_water, segment = excluded.segment, durable = excluded.durable",
                (_VERSION, log.log_id, log.high_water, log.segment, log.durable),
            )

    def save_end(self, end: int) -> None:
        """All offsets below `end` are durable, and none from there on was assigned."""
        self._run("UPDATE log SET durable = ?, high_water = ?", (end, end))

    def save_cut(self, segment: int, size: int) -> None:
        """The bytes of this segment's file from `size` on are not part of the log, even if they look valid."""
        self._run("INSERT OR REPLACE INTO cut VALUES (?, ?)", (segment, size))

    def cuts(self) -> dict[int, int]:
        """Sizes by first offset of the segment."""
        return dict(self._run("SELECT segment, size FROM cut"))

    def delete_cuts(self, before: int) -> None:
        """Of segments that begin below offset `before`, which are gone."""
        self._run("DELETE FROM cut WHERE segment < ?", (before,))

    def readers(self, log_id: str) -> dict[str, Progress]:
        return dict(_reader(log_id, row) for row in self._run("SELECT * FROM reader"))

    def add_reader(self, name: str, start: int) -> None:
        self._run("INSERT INTO reader VALUES (?, ?, ?, 0, 0, 0, 0, NULL, NULL, 0)", (name, start, start))

    def reserve(self, name: str, taken: Range, attempt: int) -> None:
        self._run(
            "UPDATE reader SET reserved_first = ?, reserved_last = ?, attempt = ? WHERE name = ?",
            (taken.first, taken.last, attempt, name),
        )

    def commit(self, name: str, committed: int, counts: Counts, durable: int) -> None:
        """Moves a reader and saves how far the log was durable, in one transaction."""
        with self._turn, _translated(), self._connection:
            self._connection.execute(
                "UPDATE reader SET committed = ?, stored = ?, duplicate = ?, dead = ?, lost = ?,"
                " reserved_first = NULL, reserved_last = NULL, attempt = 0 WHERE name = ?",
                (committed, counts.stored, counts.duplicate, counts.dead, counts.lost, name),
            )
            self._connection.execute("UPDATE log SET durable = max(durable, ?)", (durable,))

    def close(self) -> None:
        with self._turn:
            self._connection.close()

    def _run(self, sql: str, values: tuple[object, ...] = ()) -> list[tuple[Any, ...]]:
        """One statement, which is one transaction."""
        with self._turn, _translated():
            rows: list[tuple[Any, ...]] = self._connection.execute(sql, values).fetchall()
        return rows


def _connect(path: Path) -> apsw.Connection:
    # SQLite makes the files beside it with the mode of this one.
    os.close(os.open(path, os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))
    connection = apsw.Connection(str(path))
    try:
        connection.set_busy_timeout(5_000)
        connection.pragma("journal_mode", "wal")
        connection.pragma("synchronous", "full")
        if connection.pragma("quick_check") != "ok":
            raise apsw.CorruptError("quick_check found damage")
        connection.execute(_SCHEMA)
        connection.execute("SELECT one, version, log_id, high_water, segment, durable FROM log").fetchall()
        connection.execute("SELECT name, start, attempt FROM reader").fetchall()
        connection.execute("SELECT segment, size FROM cut").fetchall()
    except BaseException:
        connection.close()
        raise
    return connection


def _quarantine(path: Path) -> str:
    target, n = path.with_name(path.name + ".corrupt"), 1
    while target.exists():
        target, n = path.with_name(f"{path.name}.{n}.corrupt"), n + 1
    for suffix in _FILES:
        source = path.with_name(path.name + suffix)
        if source.exists():
            source.rename(target.with_name(target.name + suffix))
    return target.name


def _reader(log_id: str, row: tuple[Any, ...]) -> tuple[str, Progress]:
    name, start, committed, stored, duplicate, dead, lost, first, last, attempt = row
    reserved = None if first is None else Range(log_id, 0, first, last)
    return name, Progress(log_id, 0, start, committed, Counts(stored, duplicate, dead, lost), reserved, attempt)


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except _TEMPORARY as error:
        if getattr(error, "extendedresult", 0) == apsw.SQLITE_READONLY_DBMOVED:
            raise Fatal(f"the log's state was deleted or moved away: {error}") from error
        raise Retryable(f"the log's state cannot be written: {error}") from error
    except apsw.Error as error:
        raise Fatal(f"the log's state is broken: {error}") from error
