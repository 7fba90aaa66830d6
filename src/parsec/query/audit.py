"""The ledger, recounted: what the store holds of each partition against what was committed of it.

In: where each partition stands, and the day. Out: per partition what the ledger says, what was found, and the
difference. Errors: Rejected(query_too_expensive), Retryable from the store. Next: parsec.ports.store.

1. A recount looks only at offsets below `committed`, as it was when it began. All of them had landed by then, and no
   offset of them lands again: events that come in meanwhile change nothing.
2. It begins at the oldest mark (parsec.process.ledger) after which nothing can have left the store by age, nor with a
   day that was dropped (parsec.process.size_retention); with a day that is dropped meanwhile it begins anew. What lies
   before is counted as `not_recounted`, neither as sound nor as lost. A store that lacks even the first mark was lost
   or exchanged: that is a difference from the ledger's start on.
3. It goes from mark to mark, so that too much in one stretch never makes up for too little in another.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice, pairwise

import msgspec

from parsec.api.audit import Audit, AuditSpan, MissingRecord, PartitionAudit
from parsec.core.clock import Clock
from parsec.core.counts import Counts
from parsec.core.timestamp import DAY
from parsec.ports.broker import Progress
from parsec.ports.store import LedgerCheckpoint, QueryLimits, StoreReader

CHUNK = 2_000_000
"""Offsets that one question counts: some 64 MB of the store's memory."""
MOST_SHOWN = 10
MARGIN_DAYS = 1
"""A store's day may begin some hours before ours."""

_LEDGER = (
    "FROM ledger_marks FINAL "
    "WHERE log_id = {log_id:String} AND partition = {partition:UInt32} AND start = {start:UInt64}"
)
# A ledger that was begun anew from the same start has a newer first mark; the counts before that are not its own.
_MARKS = f"""
SELECT {", ".join(LedgerCheckpoint.__struct_fields__)} {_LEDGER}
AND time >= (SELECT max(time) {_LEDGER} AND committed = start) ORDER BY committed
"""
# Noted before it goes. All days before it count as gone, whether there was anything of them or not.
_DROPPED = "SELECT max(toInt64(day)) FROM dropped_days HAVING count() > 0"
PLACE = (
    "log_id = {log_id:String} AND partition = {partition:UInt32} AND offset >= {first:UInt64} AND offset < {end:UInt64}"
)
_ROWS = f"SELECT count(), uniqExact(offset) FROM events WHERE {PLACE}"  # noqa: S608 (our own names, here and below)
_LETTERS = f"SELECT uniqExact(offset) FROM dead_letters WHERE {PLACE}"  # noqa: S608
_BOTH = f"{_LETTERS} AND offset IN (SELECT offset FROM events WHERE {PLACE})"  # noqa: S608
_DOUBLED = (
    f"SELECT offset FROM events WHERE {PLACE} GROUP BY offset HAVING count() > 1 ORDER BY offset LIMIT {MOST_SHOWN}"  # noqa: S608
)


def today(clock: Clock) -> int:
    """Days since 1970."""
    return clock.time_ns() // DAY


def audit(store: StoreReader, progress: Iterable[Progress], day: int, limits: QueryLimits) -> Audit:
    """Recounts each partition up to where it stands. `day`: as `today` gives it."""
    known = sorted(progress, key=lambda each: each.partition)
    since = None
    while (dropped := _dropped(store, limits)) != since:
        since = dropped
        partitions = [_recount(store, each, _Gone(day + MARGIN_DAYS, dropped), limits) for each in known]
    return Audit(
        sum(each.difference for each in partitions),
        sum(each.not_recounted for each in partitions),
        sum(each.committed - each.recounted_from for each in partitions),
        partitions,
    )


class _Gone(msgspec.Struct, frozen=True):
    """What expires up to the one day, and what came in up to the other, may have left the store."""

    expired: int
    dropped: int


def _dropped(store: StoreReader, limits: QueryLimits) -> int:
    return next((day for (day,) in store.select(_DROPPED, {}, limits, tuple[int])), -1)


def _recount(store: StoreReader, progress: Progress, gone: _Gone, limits: QueryLimits) -> PartitionAudit:
    standings = [*_standings(store, progress, gone, limits), _Standing(progress.committed, progress.counts)]
    stored = dead = 0
    where = []
    for before, after in pairwise(standings):
        expected = after.counts.minus(before.counts)
        found = _found(store, progress, before.committed, after.committed, limits)
        stored, dead = stored + found.stored, dead + found.dead
        stretch = msgspec.structs.replace(found, stored=found.stored - expected.stored, dead=found.dead - expected.dead)
        if stretch.difference:
            where.append(stretch)
    first = standings[0]
    ledger = progress.counts.minus(first.counts)
    unbalanced = progress.committed - progress.start - progress.counts.total
    difference = sum(each.difference for each in where) + abs(unbalanced)
    absent = progress.committed - first.committed - stored - dead
    return PartitionAudit(
        progress.partition,
        progress.log_id,
        progress.start,
        progress.committed,
        first.committed,
        first.committed - progress.start,
        ledger,
        Counts(stored, absent - ledger.lost, dead, ledger.lost),
        unbalanced,
        difference,
        where[:MOST_SHOWN],
    )


class _Standing(msgspec.Struct, frozen=True):
    committed: int
    counts: Counts


def _standings(store: StoreReader, progress: Progress, gone: _Gone, limits: QueryLimits) -> list[_Standing]:
    """The marks from which all should be there, oldest first; where the partition stands when there is none."""
    place = {"log_id": progress.log_id, "partition": progress.partition, "start": progress.start}
    marks = store.select(_MARKS, place, limits, LedgerCheckpoint)
    # A ledger's first mark is kept for ever. Without it this store is not the one that the ledger is about, or is new.
    whole = any(mark.committed == progress.start for mark in marks)
    kept = [] if whole else [_Standing(progress.start, Counts())]
    for mark in marks:
        counts = Counts(mark.stored, mark.duplicate, mark.dead, mark.lost)
        if mark.expires_from <= gone.expired or mark.received_from <= gone.dropped:
            kept = []
        elif mark.committed <= progress.committed:
            kept.append(_Standing(mark.committed, counts))
    return kept or [_Standing(progress.committed, progress.counts)]


def _found(store: StoreReader, progress: Progress, first: int, end: int, limits: QueryLimits) -> AuditSpan:
    """What the store holds of first..end-1."""
    rows = distinct = letters = both = 0
    doubled_at: list[int] = []
    for place in _places(progress, first, end):
        ((some, different),) = store.select(_ROWS, place, limits, tuple[int, int])
        ((dead,),) = store.select(_LETTERS, place, limits, tuple[int])
        rows, distinct, letters = rows + some, distinct + different, letters + dead
        if dead:
            both += store.select(_BOTH, place, limits, tuple[int])[0][0]
        if some > different and len(doubled_at) < MOST_SHOWN:
            doubled_at += [offset for (offset,) in store.select(_DOUBLED, place, limits, tuple[int])]
    return AuditSpan(first, end, distinct, letters - both, rows - distinct, both, doubled_at[:MOST_SHOWN])


def _places(progress: Progress, first: int, end: int) -> Iterator[dict[str, int | str]]:
    for begin in range(first, end, CHUNK):
        yield {
            "log_id": progress.log_id, "partition": progress.partition, "first": begin, "end": min(begin + CHUNK, end)
        }  # fmt: skip


_AT_ONCE = 20_000
MOST_MISSING = 1000
"""Records that are named; a store that was deleted has millions of them."""
_LANDED = f"SELECT offset FROM events WHERE {PLACE} UNION ALL SELECT offset FROM dead_letters WHERE {PLACE}"  # noqa: S608
_KNOWN = (
    "SELECT DISTINCT tenant_id, id FROM events WHERE tenant_id IN {tenants:Array(String)} AND id IN {ids:Array(String)}"
)


class _Who(msgspec.Struct):
    tenant_id: str
    id: str


_DECODER = msgspec.json.Decoder(_Who)


def audit_with_log(
    store: StoreReader,
    progress: Progress,
    records: Callable[[int, int], Iterable[tuple[int, Sequence[bytes]]]],
    day: int,
    limits: QueryLimits,
) -> Audit:
    """As parsec.query.audit, of one partition, and with what is missing. `records`: of the log, between two offsets."""
    found = audit(store, [progress], day, limits)
    (one,) = found.partitions
    runs = records(one.recounted_from, one.committed)
    away = list(islice(missing(store, one.log_id, one.partition, runs, limits), MOST_MISSING))
    return msgspec.structs.replace(found, partitions=[msgspec.structs.replace(one, missing=away)])


def missing(
    store: StoreReader, log_id: str, partition: int, records: Iterable[tuple[int, Sequence[bytes]]], limits: QueryLimits
) -> Iterator[MissingRecord]:
    """`records`: runs of consecutive ones, each with the offset of its first, in order."""
    waiting: list[tuple[int, Sequence[bytes]]] = []
    count = 0
    for first, values in records:
        waiting.append((first, values))
        count += len(values)
        if count >= _AT_ONCE:
            yield from _missing(store, log_id, partition, waiting, limits)
            waiting, count = [], 0
    if waiting:
        yield from _missing(store, log_id, partition, waiting, limits)


def _missing(
    store: StoreReader, log_id: str, partition: int, runs: Sequence[tuple[int, Sequence[bytes]]], limits: QueryLimits
) -> Iterator[MissingRecord]:
    place = {"log_id": log_id, "partition": partition, "first": runs[0][0], "end": runs[-1][0] + len(runs[-1][1])}
    bounds = msgspec.structs.replace(limits, max_result_rows=0, max_result_bytes=0)
    landed = {offset for (offset,) in store.select(_LANDED, place, bounds, tuple[int])}
    away = [
        _told(first + n, value) for first, values in runs for n, value in enumerate(values) if first + n not in landed
    ]
    for at in range(0, len(away), 1000):
        some = away[at : at + 1000]
        who = {"tenants": sorted({one.tenant_id for one in some}), "ids": sorted({one.id for one in some})}
        known = set(store.select(_KNOWN, who, bounds, tuple[str, str]))
        yield from (one for one in some if (one.tenant_id, one.id) not in known)


def _told(offset: int, value: bytes) -> MissingRecord:
    try:
        who = _DECODER.decode(value)
    except msgspec.DecodeError:
        return MissingRecord(offset)
    return MissingRecord(offset, who.tenant_id, who.id)
