"""Look up duplicates in the store: the row at a position, the position of an id, the newest ids.

In: a function that queries the store on the writer's connection. Out: as in parsec.ports.store. Errors: that
function's. Next: parsec.process.claims.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from operator import itemgetter
from typing import Any, TypeVar
from zlib import crc32

from parsec.core.timestamp import SECOND
from parsec.ports.dedup import Batch, Position
from parsec.ports.store import RowIdentity

T = TypeVar("T")

Query = Callable[[str, Mapping[str, object]], Sequence[Sequence[Any]]]
"""SQL and its values to the columns of the answer; none when it has no rows."""

VALUES_PER_QUERY = 2000
ROWS_PER_QUERY = 20_000
SLICES = 6000
"""Number of time slices into which a window is cut to be read oldest first."""

_DIGEST = (
    "lower(hex(SHA256(concat(toString(if(timestamp = received_at, -1, toUnixTimestamp64Nano(timestamp))), ' ', "
    "severity, ' ', toString(length(source)), ' ', source, toString(length(message)), ' ', message, metadata))))"
)
"""parsec.ports.store.content_digest, in SQL."""
_AT = "log_id = {log_id:String} AND partition = {partition:UInt32} AND offset IN {offsets:Array(UInt64)}"
_ROWS_AT = f"SELECT offset, tenant_id, id, {_DIGEST} FROM events WHERE {_AT} AND tenant_id IN {{tenants:Array(String)}}"  # noqa: S608
_DEAD_LETTERS_AT = f"SELECT offset FROM dead_letters WHERE {_AT}"  # noqa: S608 (our own text)
_POSITIONS_OF = (
    "SELECT tenant_id, id, log_id, partition, offset FROM events "
    "WHERE tenant_id IN {tenants:Array(String)} AND id IN {ids:Array(String)}"
)
# Thousands of ids as one value: to bind each of them takes longer than the query. What a checksum finds is compared.
_RECEIVED_AT = (
    "SELECT tenant_id, id, toUnixTimestamp64Nano(received_at) FROM events "
    "WHERE received_at >= fromUnixTimestamp64Nano({first:Int64}, 'UTC') "
    "AND received_at <= fromUnixTimestamp64Nano({last:Int64}, 'UTC') "
    "AND CRC32(id) IN (SELECT toUInt32(arrayJoin(splitByChar(',', {sums:String}))))"
)
_NEWEST = "SELECT toUnixTimestamp64Nano(maxOrNull(received_at)) FROM events WHERE partition = {partition:UInt32}"
_ROWS_PER_SLICE = (
    "SELECT intDiv(toUnixTimestamp64Nano(received_at), {slice:Int64}) AS slice, count() FROM events "
    "WHERE partition = {partition:UInt32} AND received_at >= fromUnixTimestamp64Nano({first:Int64}, 'UTC') "
    "GROUP BY slice"
)
_IDS_BETWEEN = (
    "SELECT log_id, tenant_id, id, offset, toUnixTimestamp64Nano(received_at) FROM events "
    "WHERE partition = {partition:UInt32} AND received_at >= fromUnixTimestamp64Nano({first:Int64}, 'UTC') "
    "AND received_at < fromUnixTimestamp64Nano({end:Int64}, 'UTC')"
)


def rows_at(
    query: Query, positions: Collection[Position], tenants: Collection[str]
) -> Mapping[Position, RowIdentity | None]:
    """The rows or, as None, the dead letters at these positions."""
    found: dict[Position, RowIdentity | None] = {}
    logs: defaultdict[tuple[str, int], list[int]] = defaultdict(list)
    for position in positions:
        logs[position.log_id, position.partition].append(position.offset)
    for (log_id, partition), offsets in logs.items():
        for some in _chunks(sorted(offsets)):
            place = {"log_id": log_id, "partition": partition, "offsets": some}
            for offset, *identity in zip(*query(_ROWS_AT, place | {"tenants": list(tenants)}), strict=True):
                found[Position(log_id, partition, offset)] = RowIdentity(*identity)
            left = [offset for offset in some if Position(log_id, partition, offset) not in found]
            if left:
                letters = query(_DEAD_LETTERS_AT, place | {"offsets": left})
                found |= {Position(log_id, partition, offset): None for (offset,) in zip(*letters, strict=True)}
    return found


def positions_of(query: Query, tenants: Collection[str], ids: Collection[str]) -> Mapping[tuple[str, str], Position]:
    """The position of a row for each (tenant, id) that has one; of several rows, any."""
    found: dict[tuple[str, str], Position] = {}
    for some in _chunks(list(ids)):
        columns = query(_POSITIONS_OF, {"tenants": list(tenants), "ids": some})
        for tenant, name, *position in zip(*columns, strict=True):
            found[tenant, name] = Position(*position)
    return found


def received_at(
    query: Query, tenants: Collection[str], ids: Collection[str], from_ns: int, until_ns: int
) -> Mapping[tuple[str, str], Sequence[int]]:
    """When the rows of each (tenant, id) were received, between two moments."""
    found: defaultdict[tuple[str, str], list[int]] = defaultdict(list)
    sums = ",".join({str(crc32(each.encode())) for each in ids})
    for tenant, name, moment in zip(
        *query(_RECEIVED_AT, {"sums": sums, "first": from_ns, "last": until_ns}), strict=True
    ):
        if name in ids and tenant in tenants:
            found[tenant, name].append(moment)
    return found


def recent_ids(query: Query, partition: int, seconds: float, ids: int) -> Iterator[Batch]:
    """The newest ids, oldest first; each batch is of one log."""
    (times,) = query(_NEWEST, {"partition": partition})
    newest = max((at_ns for at_ns in times if at_ns is not None), default=None)
    if newest is None:
        return
    window_ns = int(seconds * SECOND)
    for first_ns, end_ns in _intervals(query, partition, newest - window_ns, max(window_ns // SLICES, 1), ids):
        columns = query(_IDS_BETWEEN, {"partition": partition, "first": first_ns, "end": end_ns})
        logs: defaultdict[str, list[tuple[str, str, int, int]]] = defaultdict(list)
        for log_id, *event in sorted(zip(*columns, strict=True), key=itemgetter(4, 3)):
            logs[log_id].append(tuple(event))
        for log_id, events in logs.items():
            tenants, names, offsets, received = zip(*events, strict=True)
            yield Batch(log_id, partition, received[-1], tenants, names, offsets)


def _intervals(query: Query, partition: int, from_ns: int, slice_ns: int, ids: int) -> list[tuple[int, int]]:
    """Intervals of about ROWS_PER_QUERY rows each, oldest first, that together hold the newest `ids` rows."""
    columns = query(_ROWS_PER_SLICE, {"partition": partition, "first": from_ns, "slice": slice_ns})
    slices: Counter[int] = Counter()
    for number, count in zip(*columns, strict=True):
        slices[number] += count
    intervals: list[tuple[int, int]] = []
    end, rows, total = None, 0, 0
    for number, count in sorted(slices.items(), reverse=True):
        end = number + 1 if end is None else end
        rows += count
        total += count
        if rows >= ROWS_PER_QUERY or total >= ids:
            intervals.append((number * slice_ns, end * slice_ns))
            end, rows = None, 0
        if total >= ids:
            break
    if end is not None:
        intervals.append((from_ns, end * slice_ns))
    return intervals[::-1]


def _chunks(values: list[T]) -> Iterator[list[T]]:
    for at in range(0, len(values), VALUES_PER_QUERY):
        yield values[at : at + VALUES_PER_QUERY]
