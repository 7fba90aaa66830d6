"""Detach damaged parts of the store's tables and report them, so that storing and queries go on over the rest.

In: an error of the engine, or the name of a part. Out: the part in `detached/` of its table as `broken_<part>`, an
ERROR line, a metric, a reason for /health; the callback `on_detached` is called. Errors: none: a part that cannot be
detached stays, and the caller's own error stands. Next: parsec.adapters.store.chdb.engine.

Invariants, cited by tests
 1. A part is detached when an error that is certain names it, or when an error that may have other reasons names it and
    the engine's own check of that part fails. Never for time, memory, descriptors or disk space.
 2. `changes` has grown before a query ends that lacks the rows of a part, unless it had grown before the query began.
 3. What is detached is reported again after a restart, until it is stored again or leaves (`detached_directory`).
"""

import os
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import structlog

from parsec.adapters.store.chdb import damage_errors, detached_directory, sync
from parsec.adapters.store.chdb.detached_directory import DetachedDirectory
from parsec.core.errors import ParsecError
from parsec.telemetry import Telemetry

if TYPE_CHECKING:
    from clickhouse_connect.driver.client import Client

_log = structlog.get_logger(__name__)

LOSSES: Mapping[str, str] = {
    "events": "its events are missing until they are stored again from the log",
    "dead_letters": "its dead letters are missing until they are stored again from the log",
    "ledger_marks": "parsec audit recounts less of the ledger",
    "dropped_days": "parsec audit may report days that PARSEC_STORE_MAX_BYTES dropped as missing",
    "_migrations": "the next start applies its migrations again",
}
"""What a part of each table loses."""

_NOT_FROM_THE_LOG = ("ledger_marks", "dropped_days", "_migrations")
"""What these have lost is reported until the next start; nothing stores it again."""

_ACTIVE = (
    "SELECT rows, bytes_on_disk FROM system.parts WHERE database = currentDatabase() AND active "
    "AND table = {table:String} AND name = {part:String}"
)
_CHECK = "CHECK TABLE {table} PART '{part}' SETTINGS check_query_single_value_result = 0"
# Finds what the check leaves out: columns_substreams.txt, which tells where in a file each part of a column begins.
_FIRST_ROW = (
    "SELECT * FROM {table:Identifier} WHERE _part = {part:String} LIMIT 1 "
    "SETTINGS asterisk_include_materialized_columns = 1, use_skip_indexes = 0"
)
SOUND_S = 60.0
"""A part that passed its check is not checked again for so long, whatever errors name it: a check reads all of it."""
_CHECKS, _MOST_SOUND = 2, 1000
"""A failed check is repeated: memory that flips a bit while it reads is no damage of the disk."""


class DamagedPart(NamedTuple):
    """An active part of a table, and why it is thought to be damaged; `why` names the file where the engine does."""

    table: str
    name: str
    why: str


class DamagedParts:
    """Of one engine. From any thread, after `open`."""

    def __init__(
        self, connect: Callable[[], "Client"], telemetry: Telemetry, on_detached: Callable[[], None] = lambda: None,
        is_in_place: Callable[[], bool] = lambda: True,
    ) -> None:  # fmt: skip
        """`is_in_place`: whether the store is at its path; files that are elsewhere look like damage."""
        self._connect = connect
        self._telemetry = telemetry
        self._on_detached = on_detached
        self._is_in_place = is_in_place
        self._lock = threading.RLock()
        self._detaching = threading.Lock()
        self._directories: dict[str, DetachedDirectory] = {}
        self._changes = 0
        self._why: str | None = None
        self._sound_until: dict[tuple[str, str], float] = {}

    def open(self, tables: Mapping[str, Path]) -> None:
        """Reports what the engine detached when it opened, and what was detached before. `tables`: directories."""
        with self._lock:
            self._directories = {table: DetachedDirectory(path) for table, path in tables.items()}
            for table, directory in self._directories.items():
                self._telemetry.store_detached.labels(table)
                directory.adopt()
                for part in directory.damaged():
                    _log.error(
                        f"A damaged part of the store was detached: {_loss(table)}.",
                        table=table, part=part.name, rows=part.rows, directory=str(directory.path),
                    )  # fmt: skip
                    self._telemetry.store_detached.labels(table).inc()
                if table in _NOT_FROM_THE_LOG:
                    directory.mark_restored()
            self._why = self._reason()

    def changes(self) -> int:
        """Grows whenever the parts that are detached change. Waits while one is being detached: a query that lacks its
        rows already must not find the number that it found before."""
        with self._detaching:
            return self._changes

    def why(self) -> str | None:
        """For /health, without waiting; None while no part is missing."""
        return self._why

    def restored(self, tables: Collection[str], changes: int) -> None:
        """All rows of the detached parts of these tables, and of their earlier forms, are in the store again, or were
        never missing. `changes`: from before that was found; a part that was detached since is still missing."""
        with self._lock:
            if changes != self._changes:
                return
            marked = [
                directory.mark_restored()
                for table, directory in self._directories.items()
                if table in tables or table not in LOSSES
            ]
            if any(marked):
                self._count_change()

    def prune(self, retention_s: float) -> None:
        """Keeps what is detached within its bound, and forgets what has left the store by now. Raises OSError."""
        with self._lock:
            most = min(_bound(directory) for directory in self._directories.values())
            freed, left = detached_directory.prune(self._directories.values(), time.time(), retention_s, most)
            self._telemetry.store_detached_bytes.set(left)
            if freed:
                self._count_change()
        for part, size in freed.items():
            _log.warning("A detached part of the store was removed to keep `detached` small.", part=part, bytes=size)

    def detach_named(self, error: BaseException) -> bool:
        """Detaches the parts that this error shows to be damaged. True: one was, perhaps by another thread."""
        if damage_errors.is_limit(error):
            return False
        with self._lock:
            detached = [self._detach_if_damaged(error, table, part) for table, part in self._named(error)]
        return any(detached)

    def check(self, client: "Client", table: str, part: str) -> DamagedPart | None:
        """Reads all of a part, on the caller's thread. None: it is sound, or gone. Raises the driver's errors."""
        for attempt in range(_CHECKS):
            why = _failed_check(client, table, part)
            if why is None or damage_errors.is_limit(why):
                return None
            if attempt + 1 == _CHECKS:
                return DamagedPart(table, part, why)
        return None

    def detach(self, client: "Client", damaged: DamagedPart) -> bool:
        """False: it is not there any more, or the engine refuses."""
        from clickhouse_connect.driver.exceptions import Error

        table, part, why = damaged
        place = {"table": table, "part": part}
        if not self._is_in_place() or table not in self._directories:
            return False
        with self._lock, self._detaching:
            try:
                active = client.query(_ACTIVE, parameters=place).result_rows
                if not active:
                    return False
                client.command("ALTER TABLE {table:Identifier} DETACH PART {part:String}", parameters=place)
            except (Error, OSError) as error:
                _log.error("A damaged part of the store could not be detached.", table=table, part=part, why=str(error))
                return False
            try:
                self._directories[table].adopt()
                sync.file_system(self._directories[table].path)
            except (OSError, ParsecError) as error:
                _log.error("A detached part of the store could not be renamed.", table=table, part=part, why=str(error))
            self._changes += 1
            self._why = self._reason()
        ((rows, size),) = active
        self._telemetry.store_detached.labels(table).inc()
        _log.error(
            f"A damaged part of the store was detached: {_loss(table)}.",
            table=table, part=part, rows=rows, bytes=size, directory=str(self._directories[table].path),
            why=damage_errors.shortened(why),
        )  # fmt: skip
        self._on_detached()
        return True

    def _count_change(self) -> None:
        self._why = self._reason()
        with self._detaching:
            self._changes += 1

    def _reason(self) -> str | None:
        found = {table: directory.damaged() for table, directory in self._directories.items()}
        reasons = [
            f"{len(parts)} damaged {'part' if len(parts) == 1 else 'parts'} of table {table} "
            f"({sum(part.rows for part in parts):,} rows) {'is' if len(parts) == 1 else 'are'} detached: {_loss(table)}"
            for table, parts in found.items()
            if parts
        ]
        return f"{'; '.join(reasons)}." if reasons else None

    def _named(self, error: BaseException) -> Iterator[tuple[str, str]]:
        tables = {directory.uuid: table for table, directory in self._directories.items()}
        for uuid, part in damage_errors.named_parts(error):
            if uuid in tables:
                yield tables[uuid], part

    def _detach_if_damaged(self, error: BaseException, table: str, part: str) -> bool:
        from clickhouse_connect.driver.exceptions import Error

        try:
            client = self._connect()
        except ParsecError:
            return False
        try:
            if not client.query(_ACTIVE, parameters={"table": table, "part": part}).result_rows:
                return self._directories[table].has(part)  # detached by another thread meanwhile
            if damage_errors.is_certain(error):
                return self.detach(client, DamagedPart(table, part, str(error)))
            if time.monotonic() < self._sound_until.get((table, part), float("-inf")):
                return False
            damaged = self.check(client, table, part)
            if damaged is None:
                if len(self._sound_until) >= _MOST_SOUND:
                    self._sound_until.clear()
                self._sound_until[table, part] = time.monotonic() + SOUND_S
            return damaged is not None and self.detach(client, damaged)
        except Error as failed:
            _log.warning("A part of the store could not be checked.", table=table, part=part, why=str(failed)[:500])
            return False
        finally:
            client.close()


def _bound(directory: DetachedDirectory) -> int:
    table = directory.path.parent
    if not table.exists():  # it was dropped: its rows are in another one
        return detached_directory.MOST_BYTES
    disk = os.statvfs(table)
    return min(detached_directory.MOST_BYTES, disk.f_blocks * disk.f_frsize // detached_directory.PART_OF_DISK)


def _failed_check(client: "Client", table: str, part: str) -> str | None:
    """Why the engine's check of a part fails; None: it passes, or the part is gone."""
    from clickhouse_connect.driver.exceptions import Error

    place = {"table": table, "part": part}
    if not client.query(_ACTIVE, parameters=place).result_rows:
        return None
    for _, passed, why in client.query(_CHECK.format(table=table, part=part)).result_rows:
        if not int(passed):
            return str(why)
    try:
        client.raw_query(_FIRST_ROW, parameters=place, fmt="Null")  # its values may be none that the client can read
    except Error as error:
        if part in {name for _, name in damage_errors.named_parts(error)}:
            return str(error)
        raise
    return None


def _loss(table: str) -> str:
    return LOSSES.get(table, LOSSES["events"])  # others hold events of an earlier form
