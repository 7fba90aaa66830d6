"""On a full disk the engine may leave files of a part short and take the part for whole. So parts are looked at.

A merged part takes the place of its sources; half a minute later they are gone, and with them what the part lacks. What
an insert made short is dropped, to be inserted again.

In: a client of the engine. Out: nothing, while parts are as long as the engine says. Errors: Fatal for a merged one,
for a start takes the sources again: by then the short part is out of their way, unless they are gone already. Next:
nothing.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import structlog

from parsec.adapters.store.chdb import sync
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
_REMOVED_AT_START = "delete_tmp_"


class MergedAreWhole:
    """Looks at each merged part once. For one thread."""

    def __init__(self) -> None:
        self._seen: set[Path] = set()

    def look(self, client: "Client") -> None:
        """Raises Fatal."""
        there = {Path(row[1]): row for row in client.query(_MERGED).result_rows}
        self._seen &= there.keys()
        for part in there.keys() - self._seen:
            table, _, length, rows, partition, first, last = there[part]
            if (found := _length(part)) is None:
                continue  # merged again meanwhile
            if found < length:
                where = {"table": table, "partition_id": partition, "first": first, "last": last}
                sources = client.query(_SOURCES, parameters=where).result_rows
                raise Fatal(_set_aside(part, length - found, _rows(sources) >= rows))
            self._seen.add(part)


class InsertedAreWhole:
    """Looks at each part that an insert made once, also of an insert that failed: it may be there."""

    def __init__(self, tables: Mapping[str, Path]) -> None:
        """What is there now was looked at by the engine as it opened."""
        self._tables = tables
        self._seen = {table: _names(place) for table, place in tables.items()}

    def look(self, client: "Client", table: str) -> list[str]:
        """The names of those that are short. They are dropped, and their tokens do not count any more. Raises Retryable
        while the disk has no room even for that."""
        from clickhouse_connect.driver.exceptions import Error

        there = _names(self._tables[table])
        fresh = there - self._seen[table]
        self._seen[table] &= there
        if not fresh:
            return []
        try:
            active = client.query(_INSERTED, parameters={"table": table, "names": sorted(fresh)}).result_rows
            short = [name for name, path, length in active if _is_short(Path(path), length)]
            for name in short:
                client.command(f"ALTER TABLE {table} DROP PART '{name}'")
                _log.warning("The disk was full: what an insert left short is inserted again.", part=name)
        except Error as error:
            raise Retryable(f"whether inserts are whole cannot be said: {error}") from error
        # Those that are not active were merged already, or another thread inserts them just now and looks afterwards.
        self._seen[table] |= {name for name, _, _ in active}
        return short


def _names(table: Path) -> set[str]:
    return {part.name for part in sync.parts(table, inserted=True)}


def _is_short(part: Path, length: int) -> bool:
    found = _length(part)
    return found is not None and found < length  # else it was merged meanwhile


def _length(part: Path) -> int | None:
    try:
        return sum(file.stat().st_size for file in part.iterdir() if file.name not in _NOT_COUNTED)
    except FileNotFoundError:
        return None


def _rows(sources: Iterable[Sequence[int]]) -> int:
    """Of those that no other one covers: what was merged in steps is there once for each of them."""
    rows, end = 0, -1
    for first, last, held in sorted(sources, key=lambda source: (source[0], -source[1])):
        if first > end:
            rows, end = rows + held, last
    return rows


def _set_aside(part: Path, lacking: int, sources_are_there: bool) -> str:
    told = f"a merge left {part.name} short of {lacking} bytes, as on a full disk"
    if not sources_are_there:
        return f"{told}, and what it was merged from is gone; the next start sets it aside"
    part.rename(part.with_name(_REMOVED_AT_START + part.name))
    return f"{told}; nothing is lost, the next start goes on with what it was merged from"
