"""Batches: records read from the log are cut into ranges, and rows are made of them.

In: assignments and slices (parsec.ports.broker). Out: batches, each one range of offsets; their rows and dead letters.
Errors: Fatal for a slice with wrong counts, or one that does not continue at the last offset. Keeps invariants 1, 2
and 4 of parsec.process.range_commit. Next: parsec.process.range_commit.
"""

from bisect import bisect_left
from collections.abc import Callable, Sequence
from itertools import pairwise

import msgspec

from parsec.core.errors import Fatal
from parsec.ports.broker import Assigned, Counts, Progress, Range, Slice
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
    have some of it, because of that reservation or because it has offsets at or beyond this range.
    """

    range: Range
    slices: Sequence[Slice]
    attempt: int
    doubtful: bool

    def record(self, offset: int) -> bytes:
        """The record at `offset`, which must be in the batch."""
        inside = next(each for each in self.slices if each.first <= offset < each.next_offset)
        return inside.values[bisect_left(inside.offsets, offset)]


class Block(msgspec.Struct, frozen=True):
    """Rows of one insert, under a token made of range, attempt and `tenant_bits`.

    `doubtful`: the token may have been used before. `tenant_bits`: the first bits of the hashes of the block's tenants,
    after it was split by tenant.
    """

    range: Range
    attempt: int
    rows: Sequence[Row]
    doubtful: bool
    tenant_bits: str = ""

    @property
    def token(self) -> str:
        attempt = f"#{self.attempt}" if self.attempt != FIRST_ATTEMPT else ""
        return f"{self.range.token}{attempt}{'~' if self.tenant_bits else ''}{self.tenant_bits}"


class Partition:
    """One partition under one epoch: its progress, and the slices that are in no batch yet.

    `reserved`: the open reservation of an earlier owner, until its batch is cut.
    """

    def __init__(self, assigned: Assigned) -> None:
        self.progress = progress = assigned.progress
        self.number = progress.partition
        self.epoch = assigned.epoch
        self.next_offset = progress.committed
        self.slices: list[Slice] = []
        self.reserved = progress.reserved
        if progress.reserved and progress.reserved.last < progress.committed:
            self.reserved = None
        self._events = self._bytes = 0

    def take(self, records: Slice) -> None:
        """Keeps the part of a slice that is new (invariants 1 and 2). Raises Fatal."""
        if records.epoch != self.epoch:
            return
        count = len(records.values)
        if records.next_offset - records.first != count + records.lost or count != len(records.offsets):
            raise Fatal(
                f"slice {records.range.token} has {count} records and {records.lost} lost, which does not add up"
            )
        if records.first > self.next_offset or records.log_id != self.progress.log_id:
            raise Fatal(
                f"slice {records.range.token} does not follow offset {self.next_offset} of log {self.progress.log_id}"
            )
        if records.first < self.next_offset:
            _, rest = split(records, self.next_offset)
            if rest is None:
                return
            records = rest
        self.slices.append(records)
        self._events += len(records.values)
        self._bytes += sum(map(len, records.values))
        self.next_offset = records.next_offset

    def room(self, limits: InsertLimits) -> tuple[int, int]:
        """The events and bytes that are missing in the next batch; at least 1 of each."""
        if self.reserved:
            return max(self.reserved.last + 1 - self.next_offset, 1), limits.max_bytes
        return max(limits.max_events - self._events, 1), max(limits.max_bytes - self._bytes, 1)

    def full(self, limits: InsertLimits) -> bool:
        """Whether the next batch has its largest size, or all that was reserved (invariant 4)."""
        if self.reserved:
            return self.next_offset > self.reserved.last
        return self._events >= limits.max_events or self._bytes >= limits.max_bytes

    def cut(self, landed_below: int) -> Batch:
        """All slices as one batch, up to the end of an open reservation. Needs at least one slice.

        `landed_below`: the store may have offsets below this one, whatever the broker knows as committed.
        """
        slices, self.slices = self.slices, []
        attempt = 0
        if self.reserved:
            slices, self.slices = split_all(slices, self.reserved.last + 1)
            attempt = max(self.progress.attempt, FIRST_ATTEMPT)
            self.reserved = None
        self._events = sum(len(each.values) for each in self.slices)
        self._bytes = sum(len(value) for each in self.slices for value in each.values)
        first, last = slices[0].first, slices[-1].next_offset - 1
        return Batch(
            Range(self.progress.log_id, self.number, first, last), slices, attempt, attempt > 0 or first < landed_below
        )

    def progress_after(self, done: Range, counts: Counts) -> Progress:
        """The progress to commit once the range `done`, with these counts, is in the store."""
        before = self.progress
        return Progress(before.log_id, self.number, before.start, done.last + 1, before.counts.plus(counts))


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
