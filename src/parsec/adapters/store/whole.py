"""A merge that finds the disk full may leave its files short, and the engine puts the part in the place of its sources
all the same; half a minute later they are gone, and with them what the part lacks. So each merged part is looked at.

In: a client of the engine. Out: nothing, while each merged part is as long as the engine says. Errors: Fatal, for a
start takes the sources again: by then the short part is out of their way, unless they are gone already. Next: nothing.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from parsec.core.errors import Fatal

if TYPE_CHECKING:
    from clickhouse_connect.driver.client import Client

_MERGED = (
    "SELECT table, path, bytes_on_disk, rows, partition_id, min_block_number, max_block_number FROM system.parts "
    "WHERE database = currentDatabase() AND active AND level > 0"
)
_SOURCES = (
    "SELECT min_block_number, max_block_number, rows FROM system.parts WHERE database = currentDatabase() "
    "AND NOT active AND table = {table:String} AND partition_id = {partition_id:String} "
    "AND min_block_number >= {first:Int64} AND max_block_number <= {last:Int64}"
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
