"""Find parts that are shorter than the engine believes: on a full disk it may write part of a file and not notice.

In: a client of the engine. Out: nothing while parts are whole; inserted parts that are short are dropped, so that they
are inserted again. Errors: Fatal for a merged part, since half a minute after the merge its sources are removed. A
restart uses the sources again: by then the short part is out of their way. If they are gone already, it is detached.
Next: parsec.adapters.store.chdb.engine.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import structlog

from parsec.adapters.store.chdb.damaged_parts import DamagedPart
from parsec.adapters.store.chdb.sync import REMOVED_AT_START, part_directories
from parsec.core.errors import Fatal, Retryable

if TYPE_CHECKING:
    from clickhouse_connect.driver.client import Client

_log = structlog.get_logger(__name__)

_MERGED = (
    "SELECT table, path, bytes_on_disk, rows, partition_id, min_block_number, max_block_number FROM system.parts "
    "WHERE database = currentDatabase() AND active AND level > 0"
)
_SOURCES = (
    "SELECT min_block_number, max_block_number, rows FROM system.parts WHERE database = currentDatabase() "
    "AND NOT active AND table = {table:String} AND partition_id = {partition_id:String} "
    "AND min_block_number >= {first:Int64} AND max_block_number <= {last:Int64}"
)
_INSERTED = (
    "SELECT name, path, bytes_on_disk FROM system.parts WHERE database = currentDatabase() AND active "
    "AND table = {table:String} AND name IN {names:Array(String)}"
)
_NOT_COUNTED = frozenset({
    "checksums.txt", "columns.txt", "columns_substreams.txt", "default_compression_codec.txt", "metadata_version.txt",
    "txn_version.txt",
})  # fmt: skip
"""Files of a part that `bytes_on_disk` leaves out."""


class MergedPartCheck:
    """Checks each merged part once. For one thread. `detach` is called for one that is short and whose sources are
    gone: whether the disk was full or is damaged, only the log can bring its rows back."""

    def __init__(self, detach: Callable[["Client", DamagedPart], bool]) -> None:
        self._detach = detach
        self._checked: set[Path] = set()

    def check(self, client: "Client") -> None:
        """Raises Fatal."""
        parts = {Path(row[1]): row for row in client.query(_MERGED).result_rows}
        self._checked &= parts.keys()
        for part in parts.keys() - self._checked:
            table, _, length, rows, partition, first, last = parts[part]
            if missing := _missing_bytes(part, length):
                place = {"table": table, "partition_id": partition, "first": first, "last": last}
                if _rows(client.query(_SOURCES, parameters=place).result_rows) >= rows:
                    raise Fatal(_set_aside(part, missing))
                self._detach(client, DamagedPart(table, part.name, f"{missing} bytes of {part} are missing"))
            self._checked.add(part)


class InsertedPartCheck:
    """Checks each part that an insert made once. A failed insert may have made one, too."""

    def __init__(self, tables: Mapping[str, Path]) -> None:
        """The engine has checked the parts that are there now, when it opened."""
        self._tables = tables
        self._checked = {table: _inserted_names(directory) for table, directory in tables.items()}

    def drop_short_parts(self, client: "Client", table: str) -> list[str]:
        """Drops short parts, with their tokens; returns their names. Raises Retryable while the disk is too full."""
        from clickhouse_connect.driver.exceptions import Error

        names = _inserted_names(self._tables[table])
        fresh = names - self._checked[table]
        self._checked[table] &= names
        if not fresh:
            return []
        try:
            active = client.query(_INSERTED, parameters={"table": table, "names": sorted(fresh)}).result_rows
            short = [name for name, path, length in active if _missing_bytes(Path(path), length)]
            for name in short:
                client.command(f"ALTER TABLE {table} DROP PART '{name}'")
                _log.warning("The disk was full and an insert was truncated. It will be repeated.", part=name)
        except Error as error:
            raise Retryable(f"checking the inserted parts failed: {error}") from error
        # Parts that are not active were merged already, or are being inserted by a thread that checks them afterwards.
        self._checked[table] |= {name for name, _, _ in active}
        return short


def _inserted_names(table: Path) -> set[str]:
    return {part.name for part in part_directories(table, inserted=True)}


def _missing_bytes(part: Path, length: int) -> int:
    """By how much a part is shorter than it should be; 0 for one that was merged meanwhile."""
    try:
        found = sum(file.stat().st_size for file in part.iterdir() if file.name not in _NOT_COUNTED)
    except FileNotFoundError:
        return 0
    return max(length - found, 0)


def _rows(sources: Iterable[Sequence[int]]) -> int:
    """The rows of those sources that no other one covers: a merge in steps leaves the parts of each step."""
    rows, end = 0, -1
    for first, last, held in sorted(sources, key=lambda source: (source[0], -source[1])):
        if first > end:
            rows, end = rows + held, last
    return rows


def _set_aside(part: Path, missing: int) -> str:
    """Moves a short part out of the way of its sources; what the operator has to know."""
    part.rename(part.with_name(REMOVED_AT_START + part.name))
    return (
        f"a merge left {part.name} short of {missing} bytes, as on a full disk: make room and start again; nothing is "
        "lost, the next start uses its source parts"
    )
