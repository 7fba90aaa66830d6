"""Buffer the fetched records of one partition and cut them into slices that leave no offset out.

In: messages in order of offset. Out: slices. Errors: none. Next: parsec.ports.broker.

Invariants, cited by tests
 1. Slices follow each other: `first` of each is `next_offset` of the one before.
 2. Each offset is a record or counted in `lost`: gaps between two records, and up to where the broker says that there
    is nothing more. Gaps are expired or compacted records, aborted messages, and the markers of transactions.
"""

from bisect import bisect_right

from parsec.ports.broker import Progress, Slice


class Buffer:
    """`next_offset`: the first offset that no slice has covered yet. `bytes`: size of the records held."""

    def __init__(self, log_id: str, partition: int, epoch: int, next_offset: int) -> None:
        self.log_id = log_id
        self.epoch = epoch
        self.next_offset = next_offset
        self.bytes = 0
        self.partition = partition
        self._offsets: list[int] = []
        self._values: list[bytes] = []
        self._resent: set[int] = set()
        self._empty_before = next_offset
        self._leaders: list[tuple[int, int]] = []

    def add(self, offset: int, value: bytes, leader_epoch: int | None, *, resent: bool = False) -> None:
        """Adds a record, or ignores it when it was added before: the driver may fetch some again after a pause.

        `resent`: the sender said that it may be a repeat of another record.
        """
        if offset < self.end:
            return
        self._offsets.append(offset)
        self._values.append(value)
        self.bytes += len(value)
        if resent:
            self._resent.add(offset)
        if leader_epoch is not None and (not self._leaders or self._leaders[-1][1] != leader_epoch):
            self._leaders.append((offset, leader_epoch))

    def set_empty_before(self, offset: int) -> None:
        """There are no more records below `offset` than those added."""
        self._empty_before = max(self._empty_before, offset)

    @property
    def end(self) -> int:
        """The offset after the last record added."""
        return self._offsets[-1] + 1 if self._offsets else self.next_offset

    @property
    def has_slice(self) -> bool:
        return bool(self._offsets) or self._empty_before > self.next_offset

    def take(self, max_events: int, max_bytes: int) -> Slice:
        """The next slice, with at least one record if there is any. Call it only when `has_slice`."""
        count = self._fitting(max_events, max_bytes)
        offsets, values = self._offsets[:count], self._values[:count]
        del self._offsets[:count], self._values[:count]
        self.bytes -= sum(map(len, values))
        first, end = self.next_offset, offsets[-1] + 1 if offsets else self.next_offset
        if not self._offsets:
            end = max(end, self._empty_before)
        self.next_offset = end
        resent = frozenset(self._resent.intersection(offsets)) if self._resent else frozenset[int]()
        self._resent -= resent
        lost = end - first - count
        return Slice(self.log_id, self.partition, self.epoch, first, end, offsets, values, lost, resent)

    def set_leader_epoch(self, offset: int, leader_epoch: int | None) -> None:
        """The leader epoch of the record at `offset`, just before the first one here, as the commit says."""
        if leader_epoch is not None and leader_epoch >= 0:
            self._leaders.append((offset, leader_epoch))

    @property
    def last_leader_epoch(self) -> int | None:
        """The leader epoch of the record before `end`."""
        return self._leaders[-1][1] if self._leaders else None

    def leader_epoch_before(self, offset: int) -> int | None:
        """The leader epoch of the last record below `offset`. Ask in rising order: earlier ones are forgotten."""
        at = bisect_right(self._leaders, offset - 1, key=lambda leader: leader[0]) - 1
        if at < 0:
            return None
        del self._leaders[:at]
        return self._leaders[0][1]

    def _fitting(self, max_events: int, max_bytes: int) -> int:
        if len(self._values) <= max_events and self.bytes <= max_bytes:
            return len(self._values)
        size = count = 0
        for value in self._values[:max_events]:
            if size >= max_bytes:
                break
            size += len(value)
            count += 1
        return count


class AssignedPartition:
    """A partition under one epoch. `progress`: as last committed. `high`: the partition's last known end."""

    def __init__(self, progress: Progress, epoch: int, high: int) -> None:
        self.progress = progress
        self.epoch = epoch
        self.high = high
        self.paused = False
        self.buffer = Buffer(progress.log_id, progress.partition, epoch, progress.committed)
