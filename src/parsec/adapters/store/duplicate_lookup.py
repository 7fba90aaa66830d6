"""What the store knows about repeats: who stands at a position, where an id stands, which ids came last.

In: a function that asks the store on the writer's connection. Out: as parsec.ports.store says. Errors: that function's.
Next: parsec.process.claims.
"""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from parsec.core.timestamp import SECOND
from parsec.ports.dedup import Batch, Position
from parsec.ports.store import RowIdentity

T = TypeVar("T")

Ask = Callable[[str, Mapping[str, object]], Sequence[Sequence[Any]]]
"""A question and its values to the columns of the answer; none when it has no rows."""

ASKED_AT_ONCE = 2000
CLAIMED_AT_ONCE = 20_000
SLICES = 6000
"""Into how many slices of time a window is cut to be read oldest first."""

_DIGEST = (
    "lower(hex(SHA256(concat(toString(if(timestamp = received_at, -1, toUnixTimestamp64Nano(timestamp))), ' ', "
    "severity, ' ', toString(length(source)), ' ', source, toString(length(message)), ' ', message, metadata))))"
)
"""parsec.ports.store.content_digest, in SQL."""
_AT = "log_id = {log_id:String} AND partition = {partition:UInt32} AND offset IN {offsets:Array(UInt64)}"


def rows_at(
    ask: Ask, positions: Collection[Position], tenants: Collection[str]
) -> Mapping[Position, RowIdentity | None]:
    """The rows or, as None, the dead letters at these positions."""
    found: dict[Position, RowIdentity | None] = {}
    logs: defaultdict[tuple[str, int], list[int]] = defaultdict(list)
    for position in positions:
        logs[position.log_id, position.partition].append(position.offset)
    rows = f"SELECT offset, tenant_id, id, {_DIGEST} FROM events WHERE tenant_id IN {{tenants:Array(String)}} AND {_AT}"  # noqa: S608
    dead = f"SELECT offset FROM dead_letters WHERE {_AT}"  # noqa: S608 (our own names)
    for (log_id, partition), offsets in logs.items():
        for some in _at_once(sorted(offsets)):
            place = {"log_id": log_id, "partition": partition, "offsets": some}
            for offset, *who in zip(*ask(rows, place | {"tenants": list(tenants)}), strict=True):
                found[Position(log_id, partition, offset)] = RowIdentity(*who)
            left = [offset for offset in some if Position(log_id, partition, offset) not in found]
            if left:
                letters = ask(dead, place | {"offsets": left})
                found |= {Position(log_id, partition, offset): None for (offset,) in zip(*letters, strict=True)}
    return found


def positions_of(ask: Ask, tenants: Collection[str], ids: Collection[str]) -> Mapping[tuple[str, str], Position]:
    """Positions of rows with these ids, whichever of several copies."""
    sql = (
        "SELECT tenant_id, id, log_id, partition, offset FROM events "
        "WHERE tenant_id IN {tenants:Array(String)} AND id IN {ids:Array(String)}"
    )
    found: dict[tuple[str, str], Position] = {}
    for some in _at_once(list(ids)):
        columns = ask(sql, {"tenants": list(tenants), "ids": some})
        for tenant, name, *position in zip(*columns, strict=True):
            found[tenant, name] = Position(*position)
    return found


def recent_ids(ask: Ask, partition: int, seconds: float, ids: int) -> Iterator[Batch]:
    """The ids that came last, oldest first; of one log in each batch."""
    (newest,) = ask(
        "SELECT toUnixTimestamp64Nano(maxOrNull(received_at)) FROM events WHERE partition = {partition:UInt32}",
        {"partition": partition},
    )
    if not newest or newest[0] is None:
        return
    window_ns = int(seconds * SECOND)
    for first_ns, end_ns in _stretches(ask, partition, newest[0] - window_ns, max(window_ns // SLICES, 1), ids):
        columns = ask(
            "SELECT log_id, tenant_id, id, offset, toUnixTimestamp64Nano(received_at) FROM events "
            "WHERE partition = {partition:UInt32} AND received_at >= fromUnixTimestamp64Nano({first:Int64}, 'UTC') "
            "AND received_at < fromUnixTimestamp64Nano({end:Int64}, 'UTC') ORDER BY received_at, offset",
            {"partition": partition, "first": first_ns, "end": end_ns},
        )
        logs: defaultdict[str, list[tuple[str, str, int, int]]] = defaultdict(list)
        for log_id, *event in zip(*columns, strict=True):
            logs[log_id].append(tuple(event))
        for log_id, events in logs.items():
            tenants, names, offsets, moments = zip(*events, strict=True)
            yield Batch(log_id, partition, moments[-1], tenants, names, offsets)


def _stretches(ask: Ask, partition: int, from_ns: int, slice_ns: int, ids: int) -> list[tuple[int, int]]:
    """Stretches of time with about CLAIMED_AT_ONCE rows each, oldest first, that hold the newest `ids` rows."""
    columns = ask(
        "SELECT intDiv(toUnixTimestamp64Nano(received_at), {slice:Int64}) AS slice, count() FROM events "
        "WHERE partition = {partition:UInt32} AND received_at >= fromUnixTimestamp64Nano({first:Int64}, 'UTC') "
        "GROUP BY slice ORDER BY slice DESC",
        {"partition": partition, "first": from_ns, "slice": slice_ns},
    )
    stretches: list[tuple[int, int]] = []
    end, rows, total = None, 0, 0
    for number, count in zip(*columns, strict=True):
        end = number + 1 if end is None else end
        rows += count
        total += count
        if rows >= CLAIMED_AT_ONCE or total >= ids:
            stretches.append((number * slice_ns, end * slice_ns))
            end, rows = None, 0
        if total >= ids:
            break
    if end is not None:
        stretches.append((from_ns, end * slice_ns))
    return stretches[::-1]


def _at_once(values: list[T]) -> Iterator[list[T]]:
    for at in range(0, len(values), ASKED_AT_ONCE):
        yield values[at : at + ASKED_AT_ONCE]
