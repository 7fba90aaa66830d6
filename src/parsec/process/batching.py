"""What was taken from the log and is not yet on its way into the store, and how batches are cut from it.

In: assignments and slices (parsec.ports.broker). Out: batches, each one range. Errors: Fatal for a slice that does not
add up or does not follow. Keeps invariants 1, 2 and 4 of parsec.process.range_commit. Next:
parsec.process.range_commit.
"""

from bisect import bisect_left
from collections.abc import Iterator, Sequence

import msgspec

from parsec.core.errors import Fatal
from parsec.ports.broker import Assigned, Counts, Range, Slice

FIRST_ATTEMPT = 1


class InsertLimits(msgspec.Struct, frozen=True):
    """How much one insert may hold and how long it may wait to fill."""

    max_events: int
    max_bytes: int
    linger_s: float


class Batch(msgspec.Struct, frozen=True):
    """Slices that make one range. `attempt` is that of the reservation an earlier life left open for it, 0: none.

    `seen_before`: the store holds positions at or beyond this range that the broker does not know as committed.
    """

    range: Range
    slices: Sequence[Slice]
    attempt: int
    seen_before: bool = False

    @property
    def doubtful(self) -> bool:
        """Some of it may be in the store."""
        return self.attempt > 0 or self.seen_before

    def offsets(self) -> Iterator[int]:
        return (offset for piece in self.slices for offset in piece.offsets)

    def raw(self, offset: int) -> bytes:
        """The record at `offset`, which must be in the batch."""
        piece = next(s for s in self.slices if s.first <= offset < s.next_offset)
        return piece.values[bisect_left(piece.offsets, offset)]


class Partition:
    """One partition under one epoch: what was taken from the log and not yet made a batch of."""

    def __init__(self, assigned: Assigned) -> None:
        progress = assigned.progress
        self.number = progress.partition
        self.epoch = assigned.epoch
        self.progress = progress
        self.next_offset = progress.committed
        self.events = 0
        self.bytes = 0
        self._log_id = progress.log_id
        self._reserved = progress.reserved
        self._attempt = progress.attempt
        self._slices: list[Slice] = []
        if progress.reserved and progress.reserved.last < progress.committed:
            self._reserved = None

    @property
    def recovering(self) -> bool:
        """A reservation of an earlier life is open."""
        return self._reserved is not None

    @property
    def waiting(self) -> bool:
        """Something was taken that is in no batch yet."""
        return bool(self._slices)

    def take(self, piece: Slice) -> None:
        """Invariants 1 and 2. Raises Fatal."""
        if piece.epoch != self.epoch:
            return
        records = len(piece.values)
        if piece.next_offset - piece.first != records + piece.lost or records != len(piece.offsets):
            raise Fatal(f"slice {piece.range.token} has {records} records and {piece.lost} lost, which does not add up")
        if piece.first > self.next_offset or piece.log_id != self._log_id:
            raise Fatal(f"slice {piece.range.token} does not follow offset {self.next_offset} of log {self._log_id}")
        _, rest = split(piece, self.next_offset)
        if rest is None:
            return
        self._slices.append(rest)
        self.events += len(rest.values)
        self.bytes += sum(map(len, rest.values))
        self.next_offset = rest.next_offset

    def room(self, limits: InsertLimits) -> tuple[int, int]:
        """How many events and bytes are wanted to fill the next batch; at least 1 of each."""
        if self._reserved:
            return max(self._reserved.last + 1 - self.next_offset, 1), limits.max_bytes
        return max(limits.max_events - self.events, 1), max(limits.max_bytes - self.bytes, 1)

    def full(self, limits: InsertLimits) -> bool:
        """The next batch should not wait: it is as large as it may be, or just what was reserved (invariant 4)."""
        if self._reserved:
            return self.next_offset > self._reserved.last
        return self.events >= limits.max_events or self.bytes >= limits.max_bytes

    def cut(self, seen_below: int) -> Batch:
        """What was taken, as one batch; while recovering no more than was reserved. Only when something is waiting.

        `seen_below`: the store holds something up to this offset, whatever the broker knows of it.
        """
        slices, self._slices = self._slices, []
        attempt = 0
        if self._reserved:
            cut, rest = split_all(slices, self._reserved.last + 1)
            slices, self._slices = cut, rest
            attempt = max(self._attempt, FIRST_ATTEMPT)
            self._reserved = None
        self.events = sum(len(s.values) for s in self._slices)
        self.bytes = sum(len(value) for s in self._slices for value in s.values)
        taken = Range(self._log_id, self.number, slices[0].first, slices[-1].next_offset - 1)
        return Batch(taken, slices, attempt, taken.first < seen_below)

    def counts_with(self, counts: Counts) -> Counts:
        """The cumulative counts to commit with a range that came out as `counts`."""
        return self.progress.counts.plus(counts)

    def commit(self, taken: Range, counts: Counts) -> None:
        """The broker has `taken` as done."""
        self.progress = msgspec.structs.replace(
            self.progress, committed=taken.last + 1, counts=self.counts_with(counts), reserved=None, attempt=0
        )


def split(piece: Slice, offset: int) -> tuple[Slice | None, Slice | None]:
    """The parts of a slice below `offset` and from it on; None for an empty part."""
    if offset <= piece.first:
        return None, piece
    if offset >= piece.next_offset:
        return piece, None
    at = bisect_left(piece.offsets, offset)
    replace = msgspec.structs.replace
    below = replace(piece, next_offset=offset, offsets=piece.offsets[:at], values=piece.values[:at],
                    lost=offset - piece.first - at)  # fmt: skip
    return below, replace(piece, first=offset, offsets=piece.offsets[at:], values=piece.values[at:],
                          lost=piece.lost - below.lost)  # fmt: skip


def split_all(slices: Sequence[Slice], offset: int) -> tuple[list[Slice], list[Slice]]:
    """Contiguous slices below `offset` and from it on."""
    parts = [split(piece, offset) for piece in slices]
    return [below for below, _ in parts if below], [rest for _, rest in parts if rest]
