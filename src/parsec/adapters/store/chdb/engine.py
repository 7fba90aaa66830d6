"""chDB, the engine of ClickHouse inside this process, behind the same client as a server.

In: a directory. Out: clients for it, and blocks written through them. Errors: Fatal when the engine is not installed or
the directory cannot be opened; the driver's own from inserts. Next: parsec.adapters.store.clickhouse.

One engine per process, one directory per engine, one process per directory; any number of clients, each used by one
thread. `close` ends the engine once every client is closed.

A power cut (decision 0004): the engine syncs the files of an inserted part and the part's own directory, but never the
directory in which the part gets its name, and of a merged part not the word index. parsec.adapters.store.chdb.sync
does.
"""

import errno
import faulthandler
import os
import signal
import sys
import threading
import time
from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from parsec.adapters.store.chdb import sync
from parsec.adapters.store.chdb.merge_guard import MergeGuard
from parsec.adapters.store.chdb.part_integrity import InsertedAreWhole, MergedAreWhole
from parsec.adapters.store.chdb.schema_backup import SchemaBackup
from parsec.core.errors import Fatal

if TYPE_CHECKING:
    from clickhouse_connect.driver.client import Client

_MIB = 1 << 20
_NOT_OURS = ("SIGSEGV", "SIGBUS", "SIGFPE", "SIGILL", "SIGABRT", "SIGTRAP", "SIGSYS", "SIGTSTP")
# Its defaults are for a machine of its own: caches of gigabytes and merges at the same priority as everything else.
_SERVER_SETTINGS: Mapping[str, int] = {
    "mark_cache_size": 32 * _MIB,
    "primary_index_cache_size": 32 * _MIB,
    "index_mark_cache_size": 8 * _MIB,
    "query_condition_cache_size": 8 * _MIB,
    "text_index_tokens_cache_size": 8 * _MIB,
    "text_index_header_cache_size": 8 * _MIB,
    "text_index_postings_cache_size": 16 * _MIB,
    "compiled_expression_cache_size": 0,
    "background_pool_size": 1,
    "background_merges_mutations_concurrency_ratio": 2,
    "os_threads_nice_value_merge_mutate": 10,
}
_LOOK_EVERY_S, _LOOKS_PER_SETTLE = 0.5, 10
_loading = threading.Lock()


class ChdbEngine:
    """An engine on one directory. `memory_bytes` bounds the whole process as the engine sees it; `keep_free` are bytes
    of the disk that merges may not take."""

    def __init__(
        self, directory: Path, database: str = "parsec", memory_bytes: int = 2 << 30, keep_free: int = 0
    ) -> None:
        _load_chdb()
        directory.mkdir(parents=True, exist_ok=True)
        # Parts merged by an earlier process: when the engine opens, it removes what they came from.
        sync.file_system(directory)
        self._directory = directory
        self._database = database
        self._options = {**_SERVER_SETTINGS, "max_server_memory_usage": memory_bytes}
        self._definitions = SchemaBackup(directory)
        self._definitions.mend(missing_only=True)
        self._tables: dict[str, Path] = {}
        self._merged = sync.MergedParts([])
        self._inserted = InsertedAreWhole({})
        self._merging = MergeGuard(directory, keep_free)

    def connect(self, settings: Mapping[str, str | int]) -> "Client":
        """A client for one thread, in its database, with these settings."""
        from clickhouse_connect.driver.exceptions import Error

        try:
            client = self._opened()
            client.command(f"CREATE DATABASE IF NOT EXISTS {self._database} ENGINE = Atomic")
            client.database = self._database
            for name, value in settings.items():
                client.set_client_setting(name, value)
            _give_back_signals()
        except (Error, OSError) as error:
            reason = str(error).rpartition("Failed to create connection: ")[2]
            raise Fatal(
                f"the store in {self._directory} cannot be opened: {reason.rstrip('. ')}. Standard error has the "
                "engine's own words. If its files are damaged: put a backup in its place, or move it away; Parsec then "
                "begins with an empty store."
            ) from error
        return client

    def _opened(self) -> "Client":
        """A client. If the engine does not open, once more with the tables' definitions as they were kept."""
        from clickhouse_connect.driver import create_client
        from clickhouse_connect.driver.exceptions import Error

        client = partial(
            create_client, interface="chdb", path=str(self._directory), chdb_options=self._options, tz_source="server"
        )
        try:
            return client()
        except Error:
            if self._tables:  # the engine is open: it is something else
                raise
            self._definitions.mend(missing_only=False)
            return client()

    def write(self, client: "Client", into: str, settings: str, blocks: Iterable[bytes]) -> None:
        """Inserts blocks in Native format as one, after `settle`. `into` is `table (columns)`; both texts are ours.

        The engine reads from a file; this one has no name and no disk behind it, so nothing is left after a crash.
        """
        file = os.memfd_create("parsec-insert", os.MFD_CLOEXEC)
        try:
            for block in blocks:
                rest = memoryview(block)
                while rest:
                    rest = rest[os.write(file, rest) :]
            source = f"/proc/self/fd/{file}"
            client.command(
                f"INSERT INTO {into} FROM INFILE '{source}' COMPRESSION 'none' SETTINGS {settings} FORMAT Native"
            )
        finally:
            os.close(file)
        table = into.partition(" ")[0]
        if short := self._inserted.look(client, table):
            raise OSError(errno.ENOSPC, f"the disk is full: {', '.join(short)} came out short")
        sync.directory(self._tables[table])

    def settle(self, client: "Client") -> None:
        """Once this returns, every part and table that a question can see is whole and survives a power cut.

        Raises Fatal, Retryable.
        """
        if not self._tables:
            asked = "SELECT name, data_paths[1] FROM system.tables WHERE database = currentDatabase()"
            self._tables = {name: Path(place) for name, place in client.query(asked).result_rows}
            self._merged = sync.MergedParts(list(self._tables.values()))
            sync.file_system(self._directory)
            self._definitions.keep()
            self._inserted = InsertedAreWhole(self._tables)
        for table, directory in self._tables.items():
            self._inserted.look(client, table)
            sync.directory(directory)

    def keep_settled(self, stop: threading.Event) -> None:
        """Until `stop`, in a thread of its own, after `settle`: makes merged parts safe before the engine removes what
        they came from, which it keeps for `old_parts_lifetime` (30 s, migration 1). Raises Fatal."""
        from clickhouse_connect.driver.exceptions import Error

        client = self.connect({})
        try:
            looks, merged = 0, MergedAreWhole()
            while not stop.wait(_LOOK_EVERY_S):
                self._merging.look(client, time.monotonic())
                merged.look(client)
                looks += 1
                if looks % _LOOKS_PER_SETTLE == 0:
                    self._merged.settle()
        except Error as error:
            raise Fatal(f"the store cannot say what it merged: {error}") from error
        finally:
            client.close()


def _load_chdb() -> None:
    """Imports the engine without pyarrow.

    chdb asks for pyarrow when it is imported and touches it only to return Arrow tables, which nobody here asks for.
    Where it is not installed a placeholder stands in for the time of the import, and about 150 MB of it need not be.
    """
    with _loading:
        if "chdb" in sys.modules:
            return
        placeholder = ModuleType("pyarrow")
        placeholder.__dict__.update(RecordBatchReader=object, Table=object)
        stands_in = "pyarrow" not in sys.modules and not _installed("pyarrow")
        try:
            if stands_in:
                sys.modules["pyarrow"] = placeholder
            import chdb  # noqa: F401
        except ImportError as error:
            raise Fatal(
                f"the embedded store needs the extra `embedded` (pip install parsec-logs[embedded]): {error}"
            ) from error
        finally:
            if stands_in:
                del sys.modules["pyarrow"]


def _installed(name: str) -> bool:
    from importlib.util import find_spec

    return find_spec(name) is not None


def _give_back_signals() -> None:
    """Undoes what the engine does to the process when its first client connects.

    Its handler of crashes waits for a server's logger, so that a dying process hangs; Ctrl-Z and blocked signals are
    not its business either. Python lets only the main thread set handlers; the store is opened there.
    """
    if threading.current_thread() is not threading.main_thread():
        return
    for name in _NOT_OURS:
        number = getattr(signal, name)
        signal.signal(number, signal.getsignal(number) or signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGPIPE})  # blocked, it would stay so in every child process
    if faulthandler.is_enabled():
        faulthandler.enable()
