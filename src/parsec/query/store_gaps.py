"""What the store lacks, by comparison with the ledger: gaps for the repair.

In: the progress of each partition, and the day. Out: ranges of offsets with fewer rows or dead letters than the ledger
counts. Errors: those of parsec.query.audit. Next: parsec.process.comparison.
"""

import sys
from collections.abc import Iterable, Sequence

from msgspec.structs import replace

from parsec.api.repair import StoreGap
from parsec.ports.broker import Progress, Range
from parsec.ports.store import ExpiryBound, LedgerCheckpoint, QueryLimits, StoreReader
from parsec.query.audit import audit
from parsec.query.sql.ledger import earliest_days, found_in, full_pieces

PIECE_OF_GAP = 10_000
"""Offsets: what is missing is looked for in pieces of this size that are not full."""
MOST_STRETCHES = 1000


def store_gaps(
    store: StoreReader, progress: Iterable[Progress], day: int, limits: QueryLimits, *, also_unknown: bool = False
) -> list[StoreGap]:
    """The gaps in order, and as gaps without events the ledgers whose first checkpoint the store lacks.

    `also_unknown`: as a gap without events, too, what cannot be recounted because some of it may have left the store.
    """
    gaps = []
    for each in audit(store, progress, day, limits, most_spans=sys.maxsize).partitions:
        some = [span for span in each.where if span.stored < 0 or span.dead < 0]
        for span in some:
            gap = StoreGap(
                each.partition, each.log_id, span.first, span.end, max(-span.stored, 0), max(-span.dead, 0),
                span.received_from, span.received_until, each.first_checkpoint,
            )  # fmt: skip
            gaps.append(replace(gap, stretches=_stretches(store, gap, limits)))
        if also_unknown and each.not_recounted:
            unknown = StoreGap(each.partition, each.log_id, each.start, each.recounted_from, 0, 0)
            gaps.append(replace(unknown, stretches=_stretches(store, unknown, limits)))
        if not some and not each.first_checkpoint:
            gaps.append(StoreGap(each.partition, each.log_id, each.start, each.start, 0, 0, first_checkpoint=False))
    return gaps


def first_checkpoints(
    store: StoreReader, progress: Progress, held: int, keep_until: int, limits: QueryLimits
) -> list[LedgerCheckpoint]:
    """For a ledger whose checkpoints the store has lost, after all that the log has was stored again.

    `held`: the first offset that the log has. What was stored before it may have expired long ago, and no one knows how
    much: it is recounted only if the store has none of it, as one that was deleted. `keep_until`: the day by which
    everything will have expired.
    """
    whole = Range(progress.log_id, progress.partition, progress.start, progress.committed - 1)
    before, after = replace(whole, last=held - 1), replace(whole, first=held)
    kept, counts, rest = earliest_days(store, after, limits), progress.counts, found_in(store, after, limits)
    earliest = kept or ExpiryBound(keep_until, keep_until)
    known = not any(found_in(store, before, limits)[:2])
    place = (progress.log_id, progress.partition, progress.start)
    bound = earliest if known else ExpiryBound(0, 0)
    first = LedgerCheckpoint(*place, progress.start, 0, 0, 0, 0, bound.expires_from, bound.received_from)
    if held in (progress.start, progress.committed):
        return [first]
    stored, dead = max(counts.stored - rest.stored, 0), max(counts.dead - rest.dead + rest.both, 0)
    duplicate = max(held - progress.start - stored - dead - counts.lost, 0)
    at_held = LedgerCheckpoint(
        *place, held, stored, duplicate, dead, counts.lost, earliest.expires_from, earliest.received_from
    )
    return [first, at_held]


def _stretches(store: StoreReader, gap: StoreGap, limits: QueryLimits) -> Sequence[tuple[int, int]]:
    """The pieces of a gap that are not full, those beside each other as one; none when there are too many."""
    stretches: list[tuple[int, int]] = []
    first = gap.first
    span = Range(gap.log_id, gap.partition, gap.first, gap.end - 1)
    for number in full_pieces(store, span, PIECE_OF_GAP, limits):
        begin, end = number * PIECE_OF_GAP, (number + 1) * PIECE_OF_GAP
        if begin > first:
            stretches.append((first, begin))
        first = end
        if len(stretches) > MOST_STRETCHES:
            return ()
    if first < gap.end:
        stretches.append((first, gap.end))
    return stretches
