"""What the store holds of a partition, for the audit, and what it has lost.

In: a range of offsets. Out: counts, offsets, checkpoints, dropped days, damaged parts. Errors:
Rejected(query_too_expensive), Retryable, Fatal. Next: parsec.ports.store.
"""

from collections.abc import Collection, Iterator, Sequence
from typing import NamedTuple

import msgspec

from parsec.core.timestamp import dashed
from parsec.ports.broker import Progress, Range
from parsec.ports.store import ExpiryBound, LedgerCheckpoint, QueryLimits, StoreReader

OFFSETS_AT_ONCE = 2_000_000
"""That one statement counts: about 64 MB of the store's memory."""
MOST_DOUBLED = 10

_LEDGER = (
    "FROM ledger_marks FINAL "
    "WHERE log_id = {log_id:String} AND partition = {partition:UInt32} AND start = {start:UInt64}"
)
# A ledger that was started again at the same offset has a newer first checkpoint; older ones count for the one before.
_CHECKPOINTS = f"""
SELECT {", ".join(LedgerCheckpoint.__struct_fields__)}, toUnixTimestamp64Nano(toDateTime64(time, 9)) {_LEDGER}
AND time >= (SELECT max(time) {_LEDGER} AND committed = start) ORDER BY committed
"""
_RANGE = (
    "log_id = {log_id:String} AND partition = {partition:UInt32}"
    " AND offset >= {first:UInt64} AND offset <= {last:UInt64}"
)
# Of the rows that a migration left in a former table some may be in both.
_OLD_AND_NEW = "merge(currentDatabase(), '^events(_before_[0-9]+)?$')"
_REPEATED = f"SELECT count() - uniqExact(offset) FROM events WHERE {_RANGE}"  # noqa: S608 (our own names, here and below)
_STORED = f"SELECT uniqExact(offset) FROM {_OLD_AND_NEW} WHERE {_RANGE}"  # noqa: S608
_DEAD = f"SELECT uniqExact(offset) FROM dead_letters WHERE {_RANGE}"  # noqa: S608
_BOTH = f"{_DEAD} AND offset IN (SELECT offset FROM {_OLD_AND_NEW} WHERE {_RANGE})"  # noqa: S608
_DOUBLED = (
    f"SELECT offset FROM events WHERE {_RANGE} GROUP BY offset HAVING count() > 1 ORDER BY offset LIMIT {MOST_DOUBLED}"  # noqa: S608
)
_OFFSETS = f"SELECT offset FROM {_OLD_AND_NEW} WHERE {_RANGE} UNION ALL SELECT offset FROM dead_letters WHERE {_RANGE}"  # noqa: S608
_FULL_PIECES = (
    f"SELECT intDiv(offset, {{size:UInt64}}) AS piece FROM ({_OFFSETS}) GROUP BY piece"  # noqa: S608
    " HAVING uniqExact(offset) = {size:UInt64} ORDER BY piece"
)
_EARLIEST = (
    f"SELECT toUInt32(minOrNull(expires_on)), toUInt32(minOrNull(toDate(received_at))) FROM events WHERE {_RANGE}",  # noqa: S608
    f"SELECT toUInt32(minOrNull(expires_on)), toUInt32(minOrNull(toDate(time))) FROM dead_letters WHERE {_RANGE}",  # noqa: S608
)
_IDS = (
    f"SELECT DISTINCT tenant_id, id FROM {_OLD_AND_NEW}"  # noqa: S608
    " WHERE tenant_id IN {tenants:Array(String)} AND id IN {ids:Array(String)}"
)
# A day is noted before it is dropped. All days before it count as dropped, whether they had events or not.
_LAST_DROPPED_DAY = "SELECT max(toInt64(day)) FROM dropped_days HAVING count() > 0"
_FORMER_DAYS = (
    "SELECT DISTINCT partition_id FROM system.parts WHERE database = currentDatabase()"
    " AND startsWith(table, 'events_before_') AND active AND rows > 0 ORDER BY partition_id"
)
_DAMAGED_PARTS = (
    "SELECT partition_id, count() FROM system.detached_parts WHERE database = currentDatabase()"
    " AND match(table, '^events(_before_[0-9]+)?$') AND startsWith(reason, 'broken')"
    " GROUP BY partition_id ORDER BY partition_id"
)


class Found(NamedTuple):
    """`stored`: offsets with rows, `dead`: offsets with dead letters. `doubled`: rows beyond the first at an offset;
    `doubled_at`: the first such offsets. `both`: offsets with a row and a dead letter."""

    stored: int
    dead: int
    doubled: int
    both: int
    doubled_at: Sequence[int]


class SavedCheckpoint(LedgerCheckpoint, frozen=True, array_like=True):
    """`saved_ns`: when it was saved, before anything of the range at `committed` was stored."""

    saved_ns: int = 0


def found_in(store: StoreReader, span: Range, limits: QueryLimits) -> Found:
    """What the store holds of a range, counted in pieces."""
    stored = dead = doubled = both = 0
    doubled_at: list[int] = []
    for piece in _pieces(span):
        ((some,),) = store.select(_STORED, piece, limits, tuple[int])
        ((repeated,),) = store.select(_REPEATED, piece, limits, tuple[int])
        ((letters,),) = store.select(_DEAD, piece, limits, tuple[int])
        stored, dead, doubled = stored + some, dead + letters, doubled + repeated
        if letters:
            both += store.select(_BOTH, piece, limits, tuple[int])[0][0]
        if repeated and len(doubled_at) < MOST_DOUBLED:
            doubled_at += [offset for (offset,) in store.select(_DOUBLED, piece, limits, tuple[int])]
    return Found(stored, dead, doubled, both, doubled_at[:MOST_DOUBLED])


def checkpoints(store: StoreReader, progress: Progress, limits: QueryLimits) -> list[SavedCheckpoint]:
    """Of this ledger, in order."""
    ledger = {"log_id": progress.log_id, "partition": progress.partition, "start": progress.start}
    return store.select(_CHECKPOINTS, ledger, limits, SavedCheckpoint)


def stored_offsets(store: StoreReader, span: Range, limits: QueryLimits) -> set[int]:
    """Offsets with a row or a dead letter."""
    return {offset for (offset,) in store.select(_OFFSETS, _parameters(span), limits, tuple[int])}


def earliest_days(store: StoreReader, span: Range, limits: QueryLimits) -> ExpiryBound | None:
    """Of what the store has of a range; None: nothing."""
    found = [store.select(sql, _parameters(span), limits, tuple[int | None, int | None])[0] for sql in _EARLIEST]
    days = [(expires, received) for expires, received in found if expires is not None and received is not None]
    return ExpiryBound(min(day for day, _ in days), min(day for _, day in days)) if days else None


def full_pieces(store: StoreReader, span: Range, size: int, limits: QueryLimits) -> Iterator[int]:
    """The numbers, in order, of the whole pieces of `size` offsets of which the store has every one; `size` divides
    OFFSETS_AT_ONCE."""
    first = -(-span.first // size) * size
    for piece in _pieces(msgspec.structs.replace(span, first=first)):
        for (number,) in store.select(_FULL_PIECES, {**piece, "size": size}, limits, tuple[int]):
            yield number


def stored_ids(
    store: StoreReader, tenants: Collection[str], ids: Collection[str], limits: QueryLimits
) -> set[tuple[str, str]]:
    """Pairs of a tenant and an id that have a row, among all pairs of these."""
    return set(store.select(_IDS, {"tenants": sorted(tenants), "ids": sorted(ids)}, limits, tuple[str, str]))


def last_dropped_day(store: StoreReader, limits: QueryLimits) -> int:
    """Days since 1970; -1 for none."""
    return next((day for (day,) in store.select(_LAST_DROPPED_DAY, {}, limits, tuple[int])), -1)


def former_days(store: StoreReader, limits: QueryLimits) -> list[str]:
    """Days of receipt (2026-01-31) with events that are still in the form of an earlier version, in order."""
    return [dashed(day) for (day,) in store.select(_FORMER_DAYS, {}, limits, tuple[str])]


def damaged_parts(store: StoreReader, limits: QueryLimits) -> list[tuple[str, int]]:
    """Damaged parts by day of receipt (2026-01-31, or another name). Fatal: the server does not let us ask."""
    found = store.select(_DAMAGED_PARTS, {}, limits, tuple[str, int])
    return [(dashed(day), parts) for day, parts in found]


def _pieces(span: Range) -> Iterator[dict[str, int | str]]:
    for first in range(span.first, span.last + 1, OFFSETS_AT_ONCE):
        last = min(first + OFFSETS_AT_ONCE - 1, span.last)
        yield _parameters(msgspec.structs.replace(span, first=first, last=last))


def _parameters(span: Range) -> dict[str, int | str]:
    return {"log_id": span.log_id, "partition": span.partition, "first": span.first, "last": span.last}
