"""Recount the ledger: what the store holds of each partition against what was committed of it.

In: the progress of each partition, and the day. Out: per partition what the ledger says, what was found, and the
difference. Errors: Rejected(query_too_expensive), Retryable from the store. Next: parsec.query.sql.ledger.

1. A recount looks only at offsets below `committed`, as it was at its start. All of them had landed by then, and none
   of them lands again: events that come in meanwhile change nothing.
2. It begins at the oldest checkpoint (parsec.process.partitions) after which nothing can have left the store by age, or
   with a day that was dropped (parsec.process.size_retention); if a day is dropped meanwhile it starts again. Offsets
   before are `not_recounted`, neither sound nor lost. A store that lacks the first checkpoint was lost or exchanged:
   that is a difference from the ledger's start on.
3. It goes from checkpoint to checkpoint, so that a surplus in one span never makes up for a gap in another.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice, pairwise

import msgspec

from parsec.api.audit import Audit, AuditSpan, MissingRecord, PartitionAudit
from parsec.core.clock import Clock
from parsec.core.counts import Counts
from parsec.core.timestamp import DAY, text_of
from parsec.ports.broker import Progress, Range
from parsec.ports.store import QueryLimits, StoreReader
from parsec.query.sql.ledger import (
    SavedCheckpoint,
    checkpoints,
    found_in,
    last_dropped_day,
    stored_ids,
    stored_offsets,
)

MOST_SPANS = 10
MOST_MISSING = 1000
"""Records that are named; a store that was deleted lacks millions of them."""
MARGIN_DAYS = 1
"""A day of the store may begin some hours before ours."""
RECORDS_AT_ONCE = 20_000
IDS_AT_ONCE = 1000

Records = tuple[int, Sequence[bytes]]
"""Consecutive records, and the offset of the first."""


def today(clock: Clock) -> int:
    """Days since 1970."""
    return clock.time_ns() // DAY


def audit(
    store: StoreReader, progress: Iterable[Progress], day: int, limits: QueryLimits, *, most_spans: int = MOST_SPANS
) -> Audit:
    """Recounts each partition up to its committed offset. `day`: as from `today`."""
    known = sorted(progress, key=lambda each: each.partition)
    seen = None
    while (dropped := last_dropped_day(store, limits)) != seen:
        seen = dropped
        partitions = [_recount(store, each, day + MARGIN_DAYS, dropped, limits, most_spans) for each in known]
    return Audit(
        sum(each.difference for each in partitions),
        sum(each.not_recounted for each in partitions),
        sum(each.committed - each.recounted_from for each in partitions),
        partitions,
    )


def audit_with_log(
    store: StoreReader,
    progress: Progress,
    records: Callable[[int, int], Iterable[Records]],
    day: int,
    limits: QueryLimits,
) -> Audit:
    """`audit` of one partition, with the records that are missing. `records`: those of the log between two offsets."""
    found = audit(store, [progress], day, limits)
    (one,) = found.partitions
    runs = records(one.recounted_from, one.committed)
    missing = list(islice(missing_records(store, one.log_id, one.partition, runs, limits), MOST_MISSING))
    return msgspec.structs.replace(found, partitions=[msgspec.structs.replace(one, missing=missing)])


def missing_records(
    store: StoreReader, log_id: str, partition: int, records: Iterable[Records], limits: QueryLimits
) -> Iterator[MissingRecord]:
    """Records, given in order, that have no row and whose id has none either."""
    unbounded = msgspec.structs.replace(limits, max_result_rows=0, max_result_bytes=0)
    for runs in _batches(records):
        span = Range(log_id, partition, runs[0][0], runs[-1][0] + len(runs[-1][1]) - 1)
        landed = stored_offsets(store, span, unbounded)
        missing = [
            _missing_record(offset, value)
            for first, values in runs
            for offset, value in enumerate(values, first)
            if offset not in landed
        ]
        for at in range(0, len(missing), IDS_AT_ONCE):
            some = missing[at : at + IDS_AT_ONCE]
            repeats = stored_ids(store, {each.tenant_id for each in some}, {each.id for each in some}, unbounded)
            yield from (each for each in some if (each.tenant_id, each.id) not in repeats)


class _Checkpoint(msgspec.Struct, frozen=True):
    """`received_from`: the first day of receipt of what follows; 0, or one to come: unknown. `saved_ns`: what precedes
    was received before."""

    committed: int
    counts: Counts
    received_from: int = 0
    saved_ns: int = 0


def _recount(
    store: StoreReader, progress: Progress, expired: int, dropped: int, limits: QueryLimits, most_spans: int
) -> PartitionAudit:
    """Events that expire by the day `expired`, or were received by the day `dropped`, may have left the store."""
    end = _Checkpoint(progress.committed, progress.counts)
    known = checkpoints(store, progress, limits)
    # A ledger's first checkpoint is kept for ever. A store without it is another store, or a new one.
    same_store = any(each.committed == progress.start for each in known)
    steps = [*_sound_checkpoints(known, progress, expired, dropped, same_store=same_store), end]
    stored = dead = 0
    spans = []
    for before, after in pairwise(steps):
        expected = after.counts.minus(before.counts)
        range_ = Range(progress.log_id, progress.partition, before.committed, after.committed - 1)
        found = found_in(store, range_, limits)
        stored, dead = stored + found.stored, dead + found.dead - found.both
        span = AuditSpan(
            before.committed, after.committed, found.stored - expected.stored,
            found.dead - found.both - expected.dead, found.doubled, found.both, found.doubled_at,
            text_of(before.received_from * DAY) if 0 < before.received_from <= expired else None,
            text_of(after.saved_ns) if after.saved_ns else None,
        )  # fmt: skip
        if span.difference:
            spans.append(span)
    first = steps[0]
    ledger = progress.counts.minus(first.counts)
    unbalanced = progress.committed - progress.start - progress.counts.total
    absent = progress.committed - first.committed - stored - dead
    return PartitionAudit(
        progress.partition, progress.log_id, progress.start, progress.committed, first.committed,
        first.committed - progress.start, ledger, Counts(stored, absent - ledger.lost, dead, ledger.lost),
        unbalanced, sum(each.difference for each in spans) + abs(unbalanced), spans[:most_spans],
        same_store or progress.committed == progress.start,
    )  # fmt: skip


def _sound_checkpoints(
    known: Iterable[SavedCheckpoint], progress: Progress, expired: int, dropped: int, *, same_store: bool
) -> list[_Checkpoint]:
    """The checkpoints after which all should be there, oldest first; the committed offset when there is none."""
    sound = [] if same_store else [_Checkpoint(progress.start, Counts())]
    for each in known:
        if each.expires_from <= expired or each.received_from <= dropped:
            sound = []
        elif each.committed <= progress.committed:
            counts = Counts(each.stored, each.duplicate, each.dead, each.lost)
            sound.append(_Checkpoint(each.committed, counts, each.received_from, each.saved_ns))
    return sound or [_Checkpoint(progress.committed, progress.counts)]


def _batches(records: Iterable[Records]) -> Iterator[list[Records]]:
    batch: list[Records] = []
    count = 0
    for run in records:
        batch.append(run)
        count += len(run[1])
        if count >= RECORDS_AT_ONCE:
            yield batch
            batch, count = [], 0
    if batch:
        yield batch


class _Names(msgspec.Struct):
    tenant_id: str
    id: str


_DECODER = msgspec.json.Decoder(_Names)


def _missing_record(offset: int, value: bytes) -> MissingRecord:
    try:
        names = _DECODER.decode(value)
    except msgspec.DecodeError:
        return MissingRecord(offset)
    return MissingRecord(offset, names.tenant_id, names.id)
