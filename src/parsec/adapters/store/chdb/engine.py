"""chDB, the ClickHouse engine inside this process, behind the same client as a server.

In: a directory. Out: clients for it, and blocks written through them. Errors: Fatal when the engine is not installed or
the directory cannot be opened; the driver's own from inserts. Next: parsec.adapters.store.clickhouse.

One engine per process, one directory per engine, one process per directory; any number of clients, each used by one
thread. The engine ends when every client is closed.

Power cuts (docs/decisions/0004): the engine syncs an inserted part, but never the directory that holds its name, and of
a merged part not the text index. parsec.adapters.store.chdb.sync does.
"""

import errno
import faulthandler
import fcntl
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from parsec.adapters.store.chdb import sync
from parsec.adapters.store.chdb.damaged_parts import DamagedParts
from parsec.adapters.store.chdb.merge_guard import MergeGuard
from parsec.adapters.store.chdb.part_integrity import InsertedPartCheck, MergedPartCheck
from parsec.adapters.store.chdb.remade import remove_remade
from parsec.adapters.store.chdb.schema_backup import SchemaBackup
from parsec.adapters.store.chdb.scrub import PartScrub
from parsec.adapters.store.chdb.unsynced_merges import use_sources
from parsec.adapters.store.migrations import FORMER
from parsec.adapters.store.native import Table
from parsec.core.errors import Fatal, Retryable
from parsec.core.held_directory import HeldDirectory
from parsec.telemetry import Telemetry

if TYPE_CHECKING:
    from clickhouse_connect.driver.client import Client

_MIB = 1 << 20
_TAKEN_SIGNALS = ("SIGSEGV", "SIGBUS", "SIGFPE", "SIGILL", "SIGABRT", "SIGTRAP", "SIGSYS", "SIGTSTP")
# The defaults are for a dedicated machine: gigabytes of cache, and merges at the same priority as everything else.
_SERVER_SETTINGS: Mapping[str, int] = {
    "mark_cache_size": 32 * _MIB, "primary_index_cache_size": 32 * _MIB, "index_mark_cache_size": 8 * _MIB,
    "query_condition_cache_size": 8 * _MIB, "text_index_tokens_cache_size": 8 * _MIB,
    "text_index_header_cache_size": 8 * _MIB, "text_index_postings_cache_size": 16 * _MIB,
    "compiled_expression_cache_size": 0, "background_pool_size": 1,
    "background_merges_mutations_concurrency_ratio": 2, "os_threads_nice_value_merge_mutate": 10,
    # Otherwise it removes, after a month, directories that it does not know: a table's under a damaged name.
    "database_catalog_unused_dir_cleanup_period_sec": 0,
    "threadpool_local_fs_reader_pool_size": 8,
}  # fmt: skip
# By default a table with more broken parts than 100, or 1 GiB of them, does not open.
_BROKEN_PARTS = (
    "MODIFY SETTING max_suspicious_broken_parts = 1000000000, max_suspicious_broken_parts_bytes = 1000000000000000000"
)
_STRICT = (
    "SELECT name FROM system.tables WHERE database = currentDatabase() AND engine LIKE '%MergeTree' "
    "AND NOT engine_full LIKE '%max_suspicious_broken_parts_bytes%'"
)
_CHECK_EVERY_S, _CHECKS_PER_SYNC = 0.5, 10
_loading = threading.Lock()


class ChdbEngine:
    """An engine on one directory. `memory_bytes`: the engine's limit for the whole process; `keep_free`: bytes of the
    disk that merges leave free; `on_detached` is called after a damaged part was detached, on any thread."""

    def __init__(
        self, directory: Path, database: str = "parsec", memory_bytes: int = 2 << 30, keep_free: int = 0,
        telemetry: Telemetry | None = None, on_detached: Callable[[], None] = lambda: None,
    ) -> None:  # fmt: skip
        _load_chdb()
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        # Parts merged by an earlier process: when the engine opens, it removes their sources.
        sync.file_system(directory)
        self._directory = directory
        self.held = HeldDirectory(directory)
        self._database = database
        self._options = {**_SERVER_SETTINGS, "max_server_memory_usage": memory_bytes}
        self._schema_backup = SchemaBackup(directory)
        self._schema_backup.restore()
        use_sources(directory)
        self._tables: dict[str, Path] = {}
        self._merged_parts = sync.MergedParts([])
        self._inserted_check = InsertedPartCheck({})
        self._merge_guard = MergeGuard(directory, keep_free)
        self._telemetry = telemetry or Telemetry()
        self.damaged_parts = DamagedParts(
            lambda: self.connect({}), self._telemetry, on_detached, lambda: self.held.why_gone() is None
        )
        # What a thread has inserted is checked before another one inserts: it might drop the other's part.
        self._writing = threading.Lock()

    def connect(self, settings: Mapping[str, str | int]) -> "Client":
        """A client for one thread, with these settings. Creates the database when it is missing.

        Raises Fatal, Retryable.
        """
        from clickhouse_connect.driver.exceptions import Error

        self._require_directory()
        try:
            client = self._open()
            client.command(f"CREATE DATABASE IF NOT EXISTS {self._database} ENGINE = Atomic")
            client.database = self._database
            self._watch_definitions(client)
            for name, value in settings.items():
                client.set_client_setting(name, value)
            _restore_signals()
        except (Error, OSError) as error:
            if _is_open_elsewhere(self._directory):
                raise Fatal(
                    f"the store in {self._directory} is in use by another process; stop that process or choose another "
                    "directory. Do not move or delete its files while it runs"
                ) from error
            reason = str(error).rpartition("Failed to create connection: ")[2]
            raise Fatal(
                f"the store in {self._directory} cannot be opened: {reason.rstrip('. ')}. Standard error has the "
                "engine's own message. If files are damaged, put a backup in their place, or move the directory away; "
                "Parsec then starts with an empty store."
            ) from error
        return client

    def _watch_definitions(self, client: "Client") -> None:
        """Every statement that changes definitions is announced to their backup, whoever sends it."""
        command = client.command

        def watched(statement: str, *args: Any, **options: Any) -> Any:
            if not self._schema_backup.changes_definitions(statement):
                return command(statement, *args, **options)
            with self._schema_backup.changing(save=bool(self._tables)):
                return command(statement, *args, **options)

        client.command = watched  # type: ignore[assignment, method-assign]

    def _open(self) -> "Client":
        """A client. If the engine does not open, tries again with the table definitions from the backup, then without
        the files of mutations."""
        from clickhouse_connect.driver import create_client
        from clickhouse_connect.driver.exceptions import Error

        client = partial(
            create_client, interface="chdb", path=str(self._directory), chdb_options=self._options, tz_source="server"
        )
        try:
            return client()
        except Error:
            if self._tables:  # the engine is open, so the definitions are not the cause
                raise
            self._schema_backup.restore(refused=True)
        try:
            return client()
        except Error:
            if not self._schema_backup.set_aside_mutations():
                raise
        return client()

    def write(self, client: "Client", table: Table, settings: str, blocks: Iterable[bytes]) -> None:
        """Call `make_durable` before. Raises Retryable once the directory is not at its path any more: the engine would
        create the path anew."""
        with self._in_place():
            self._insert(client, table, settings, blocks)

    def _insert(self, client: "Client", table: Table, settings: str, blocks: Iterable[bytes]) -> None:
        """The engine reads from a file; one in memory, so that a crash leaves nothing."""
        file = os.memfd_create("parsec-insert", os.MFD_CLOEXEC)
        try:
            for block in blocks:
                rest = memoryview(block)
                while rest:
                    rest = rest[os.write(file, rest) :]
            source = f"/proc/self/fd/{file}"
            with self._writing:
                client.command(
                    f"INSERT INTO {table.insert_into} FROM INFILE '{source}' COMPRESSION 'none' "
                    f"SETTINGS {settings} FORMAT Native"
                )
                short = self._inserted_check.drop_short_parts(client, table.name)
        finally:
            os.close(file)
        if short:
            raise OSError(errno.ENOSPC, f"the disk is full: {', '.join(short)} was truncated")
        sync.directory(self._tables[table.name])

    def make_durable(self, client: "Client") -> None:
        """Also drops parts that a failed insert cut short."""
        with self._in_place():
            self._make_durable(client)

    def _make_durable(self, client: "Client") -> None:
        if not self._tables:
            for (table,) in client.query(_STRICT).result_rows:
                client.command(f"ALTER TABLE {table} {_BROKEN_PARTS}")
            tables = "SELECT name, data_paths[1] FROM system.tables WHERE database = currentDatabase()"
            found = {name: Path(path) for name, path in client.query(tables).result_rows}
            self._tables = {name: path for name, path in found.items() if FORMER not in name}
            for former in found.keys() - self._tables.keys():
                client.command(f"SYSTEM STOP MERGES {former}")  # nothing is inserted, so nothing has to be watched
            self._merged_parts = sync.MergedParts(list(self._tables.values()))
            sync.file_system(self._directory)
            self._schema_backup.save()
            self._merge_guard.check(client, time.monotonic())
            self._inserted_check = InsertedPartCheck(self._tables)
            self.damaged_parts.open(found)
        for table, directory in self._tables.items():
            self._inserted_check.drop_short_parts(client, table)
            sync.directory(directory)

    def detach_damaged(self, error: BaseException) -> bool:
        """As in parsec.adapters.store.clickhouse."""
        # Files that are elsewhere look like damaged parts.
        return self.held.why_gone() is None and self.damaged_parts.detach_named(error)

    def damage_changes(self) -> int:
        """As in parsec.adapters.store.clickhouse."""
        return self.damaged_parts.changes()

    def check_parts(self, stop: threading.Event, retention_s: float) -> None:
        """Reads all parts once and detaches damaged ones, on the calling thread. Raises Retryable."""
        from clickhouse_connect.driver.exceptions import Error

        client = self.connect({})
        scrub = PartScrub(
            lambda: self.connect({}), self.damaged_parts, self._schema_backup, self._telemetry, retention_s
        )
        try:
            scrub.check_all(client, stop, urgent=True)
        except (Error, OSError) as error:
            raise Retryable(f"the parts of the store could not be checked: {error}") from error
        finally:
            client.close()

    def scrub(self, stop: threading.Event, retention_s: float) -> None:
        """Runs in its own thread until `stop`, after `make_durable`: finds damaged parts before a query does.
        `retention_s`: how long the tables keep rows."""
        scrub = PartScrub(
            lambda: self.connect({}), self.damaged_parts, self._schema_backup, self._telemetry, retention_s,
            self._require_directory,
        )  # fmt: skip
        scrub.run(stop)

    def watch_merges(self, stop: threading.Event) -> None:
        """Runs in its own thread until `stop`, after `make_durable`: checks and syncs merged parts before the engine
        removes their sources, which it keeps for `old_parts_lifetime` (30 s, migration 1). Raises Fatal."""
        from clickhouse_connect.driver.exceptions import Error

        client = self.connect({})
        try:
            checks, merged_check = 0, MergedPartCheck(self.damaged_parts.detach)
            while not stop.wait(_CHECK_EVERY_S):
                if self.held.why_gone() is not None:
                    client.command("SYSTEM STOP MERGES")  # they would create the path anew
                    remove_remade(self._directory)
                    continue
                with suppress(Retryable), self._in_place():
                    self._merge_guard.check(client, time.monotonic())
                    merged_check.check(client)
                    checks += 1
                    if checks % _CHECKS_PER_SYNC == 0:
                        self._merged_parts.sync()
        except Error as error:
            raise Fatal(f"listing the merged parts failed: {error}") from error
        finally:
            client.close()

    def _require_directory(self) -> None:
        """Raises Retryable once the directory is not at its path any more."""
        why = self.held.why_gone()
        if why is not None:
            raise Retryable(why)

    @contextmanager
    def _in_place(self) -> Iterator[None]:
        """Work on files of the store. Raises Retryable when the directory is gone before or after it: whatever the work
        said then is about another place, and what the engine made there is removed."""
        self._require_directory()
        error: Exception | None = None
        try:
            yield
        except Exception as raised:  # noqa: BLE001 (raised again unless the directory is gone)
            error = raised
        why = self.held.why_gone()
        if why is not None:
            remove_remade(self._directory)
            raise Retryable(why) from error
        if error is not None:
            raise error


def _is_open_elsewhere(directory: Path) -> bool:
    """Whether an engine has this directory open: the error of a second one does not say so."""
    try:
        with (directory / "status").open("rb") as status:
            fcntl.flock(status, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        pass
    return False


def _load_chdb() -> None:
    """Imports the engine without pyarrow, which saves about 150 MB.

    chdb imports pyarrow and uses it only to return Arrow tables, which Parsec never asks for. Where it is not installed
    a placeholder stands in during the import.
    """
    with _loading:
        if "chdb" in sys.modules:
            return
        placeholder = ModuleType("pyarrow")
        placeholder.__dict__.update(RecordBatchReader=object, Table=object)
        needed = "pyarrow" not in sys.modules and find_spec("pyarrow") is None
        try:
            if needed:
                sys.modules["pyarrow"] = placeholder
            import chdb  # noqa: F401
        except ImportError as error:
            raise Fatal(
                f"the embedded store needs the extra `embedded` (pip install parsec-logs[embedded]): {error}"
            ) from error
        finally:
            if needed:
                del sys.modules["pyarrow"]


def _restore_signals() -> None:
    """Undoes the signal handling that the engine installs when its first client connects.

    Its crash handler waits for a server's logger, so that a crashed process would hang; it also takes Ctrl-Z and blocks
    SIGPIPE. Python lets only the main thread set handlers; the store is opened there.
    """
    if threading.current_thread() is not threading.main_thread():
        return
    for name in _TAKEN_SIGNALS:
        number = getattr(signal, name)
        signal.signal(number, signal.getsignal(number) or signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGPIPE})  # blocked, it would stay so in every child process
    if faulthandler.is_enabled():
        faulthandler.enable()
