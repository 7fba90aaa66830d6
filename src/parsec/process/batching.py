"""Batches of records and blocks of rows, each of one range of offsets.

In: slices (parsec.ports.broker). Out: the same records, cut at an offset or into slices of equal size. Errors: none.
Next: parsec.process.range_commit.
"""

from bisect import bisect_left
from collections.abc import Callable, Sequence
from itertools import pairwise

import msgspec

from parsec.ports.broker import Range, Slice
from parsec.ports.store import DeadLetter, Row

FIRST_ATTEMPT = 1
SLICE_RECORDS = 250
"""Records that become rows without a pause, about a millisecond of work."""

MakeRows = Callable[[Slice], tuple[list[Row], list[DeadLetter]]]
"""A pure function: each record of the slice becomes one row or one dead letter, in order of offset."""


class InsertLimits(msgspec.Struct, frozen=True):
    """The size of one insert, and how long it may wait to fill. Larger inserts take more memory, not less time."""

    max_events: int = 20_000
    max_bytes: int = 16 << 20
    linger_s: float = 0.5


class Batch(msgspec.Struct, frozen=True):
    """Contiguous slices that make one range.

    `attempt`: of the open reservation for this range that an earlier owner left; 0: none. `doubtful`: the store may
    have some of it, because of that reservation or because it has offsets at or beyond this range. `again`: committed
    records that the store has lost are stored again (parsec.process.repair).
    """

    range: Range
    slices: Sequence[Slice]
    attempt: int
    doubtful: bool
    again: bool = False

    def record(self, offset: int) -> bytes:
        """The record at `offset`, which must be in the batch."""
        inside = next(each for each in self.slices if each.first <= offset < each.next_offset)
        return inside.values[bisect_left(inside.offsets, offset)]


class Block(msgspec.Struct, frozen=True):
    """Rows of one insert, under a token made of range, attempt, `tenant_bits` and `again`.

    `doubtful`: the token may have been used before. `tenant_bits`: the first bits of the hashes of the block's tenants,
    after it was split by tenant.
    """

    range: Range
    attempt: int
    rows: Sequence[Row]
    doubtful: bool
    tenant_bits: str = ""
    again: bool = False


def split(records: Slice, offset: int) -> tuple[Slice | None, Slice | None]:
    """The parts of a slice below `offset` and from it on; None for an empty part."""
    if offset <= records.first:
        return None, records
    if offset >= records.next_offset:
        return records, None
    at = bisect_left(records.offsets, offset)
    replace = msgspec.structs.replace
    below = replace(records, next_offset=offset, offsets=records.offsets[:at], values=records.values[:at],
                    lost=offset - records.first - at)  # fmt: skip
    return below, replace(records, first=offset, offsets=records.offsets[at:], values=records.values[at:],
                          lost=records.lost - below.lost)  # fmt: skip


def split_all(slices: Sequence[Slice], offset: int) -> tuple[list[Slice], list[Slice]]:
    """Contiguous slices below `offset` and from it on."""
    parts = [split(each, offset) for each in slices]
    return [below for below, _ in parts if below], [rest for _, rest in parts if rest]


def split_evenly(records: Slice, count: int) -> list[Slice]:
    """A slice as slices of at most `count` records; lost offsets belong to the record before them."""
    offsets, replace = records.offsets, msgspec.structs.replace
    starts = range(count, len(offsets), count)
    edges = [records.first, *(offsets[at] for at in starts), records.next_offset]
    return [
        replace(records, first=first, next_offset=end, lost=end - first - len(offsets[at : at + count]),
                offsets=offsets[at : at + count], values=records.values[at : at + count])
        for at, (first, end) in zip(range(0, max(len(offsets), 1), count), pairwise(edges), strict=True)
    ]  # fmt: skip


def rows_of(
    slices: Sequence[Slice], make_rows: MakeRows, yield_gil: Callable[[], None]
) -> tuple[list[Row], list[DeadLetter]]:
    """The rows and dead letters of all slices. `yield_gil` lets other threads run, after each SLICE_RECORDS of a batch
    that has more."""
    rows: list[Row] = []
    letters: list[DeadLetter] = []
    is_large = sum(len(records.values) for records in slices) > SLICE_RECORDS
    for records in slices:
        for part in split_evenly(records, SLICE_RECORDS) if is_large else (records,):
            made, dead = make_rows(part)
            rows += made
            letters += dead
            if is_large:
                yield_gil()
    return rows, letters


def free_rows(rows: list[Row], yield_gil: Callable[[], None]) -> None:
    """Empties the list in parts: a large one freed at once holds the interpreter ten times as long as SLICE_RECORDS."""
    while rows:
        del rows[-SLICE_RECORDS * 4 :]
        if rows:
            yield_gil()
