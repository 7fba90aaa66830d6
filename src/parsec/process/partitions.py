"""The partitions that this process owns: polls the log for them, and says when each has its next step.

In: assignments, revocations and slices (parsec.ports.broker). Out: partitions with a batch or a step that is due, and
checkpoints of their ledger. Errors: a log that cannot be read is polled again after a wait that grows; Fatal, also for
a slice with wrong counts, or one that does not continue at the last offset. Keeps invariants 1, 2 and 4 of
parsec.process.range_commit. Next: parsec.process.batching.
"""

import time
from collections.abc import Sequence
from operator import add, attrgetter

import structlog
from msgspec.structs import astuple

from parsec.core.clock import Clock, Random
from parsec.core.errors import Fatal, Retryable
from parsec.core.timestamp import DAY, SECOND
from parsec.ports.broker import Assigned, Counts, LogReader, Progress, Range, Revoked, Slice
from parsec.ports.store import ExpiryBound, LedgerCheckpoint, Row
from parsec.process.batching import FIRST_ATTEMPT, Batch, InsertLimits, split, split_all
from parsec.process.range_commit import RangeCommit

GATHER_S = 0.05
"""The wait between polls while records wait to be inserted: on a busy log each record would cost a turn of its own."""
MANY_RECORDS = 500
"""After a poll with so many records the next poll follows at once: more of them wait."""
_CLOCKS_NS = 600 * SECOND
"""How far the clock of a store, which dates dead letters, may be behind ours."""
_EXPIRES_ON = attrgetter("expires_on")
_RECEIVED_AT = attrgetter("received_at")

_log = structlog.get_logger(__name__)


class LedgerCheckpoints:
    """Checkpoints from which the ledger can be recounted after the first rows have left the store (parsec.query.audit).

    A checkpoint holds the counts, and two bounds for all that is stored from there on: the first day on which a row may
    expire, and the first day on which one was received, since PARSEC_STORE_MAX_BYTES drops the oldest days of receipt.
    One is made when a reader begins, when a batch exceeds one of the bounds, and with the first batch of a day whose
    rows were all received after the bound: a few a day, whatever the load. `dead_letter_days`: how long dead letters
    are kept.
    """

    def __init__(self, dead_letter_days: int) -> None:
        self._dead_letter_days = dead_letter_days
        self._bound: ExpiryBound | None = None
        self._made_on = 0

    def before(
        self, progress: Progress, rows: Sequence[Row], now_ns: int, landed: ExpiryBound | None = None
    ) -> LedgerCheckpoint | None:
        """The checkpoint to save before these rows, or dead letters instead, are stored at `progress.committed`.

        `landed`: the bound of earlier checkpoints, where some of the batch may be in the store already.
        """
        today = now_ns // DAY
        dead_letters_expire = today + self._dead_letter_days
        expires = min(dead_letters_expire, min(map(_EXPIRES_ON, rows), default=dead_letters_expire))
        received = min(now_ns - _CLOCKS_NS, min(map(_RECEIVED_AT, rows), default=now_ns)) // DAY
        if landed is not None:
            expires, received = min(expires, landed.expires_from), min(received, landed.received_from)
        expires, received = max(expires, 0), max(received, 0)
        bound = self._bound
        holds = bound is not None and expires >= bound.expires_from and received >= bound.received_from
        if bound is not None and holds and (received == bound.received_from or today <= self._made_on):
            return None
        self._bound, self._made_on = ExpiryBound(expires, received), today
        counts = progress.counts
        return LedgerCheckpoint(
            progress.log_id, progress.partition, progress.start, progress.committed,
            counts.stored, counts.duplicate, counts.dead, counts.lost, expires, received,
        )  # fmt: skip


class Partition:
    """One partition under one epoch: its progress, the slices in no batch yet, the commit in progress, and its timers
    in monotonic seconds.

    `reserved`: the open reservation of an earlier owner, until its batch is cut. `has_work`: some records taken are not
    committed yet. `landed_below`: ranges that begin below this offset may be in the store; None until the store was
    asked. `expiry_bound`: of checkpoints that an earlier owner saved.
    """

    def __init__(self, assigned: Assigned, checkpoints: LedgerCheckpoints, now: float) -> None:
        self.progress = progress = assigned.progress
        self.number = progress.partition
        self.epoch = assigned.epoch
        self.next_offset = progress.committed
        self.slices: list[Slice] = []
        self.reserved = progress.reserved
        if progress.reserved and progress.reserved.last < progress.committed:
            self.reserved = None
        self._events = self._bytes = 0
        self.checkpoints = checkpoints
        self.range_commit: RangeCommit | None = None
        self.has_work = False
        self.paused = False
        self.failures = 0
        self.not_before = self.progress_at = now
        self.cut_at = float("-inf")
        self.landed_below: int | None = None
        self.expiry_bound: ExpiryBound | None = None
        self.conflicts_since: float | None = None

    def take(self, records: Slice) -> None:
        """Keeps the part of a slice that is new (invariants 1 and 2). Raises Fatal."""
        if records.epoch != self.epoch:
            return
        count = len(records.values)
        if records.next_offset - records.first != count + records.lost or count != len(records.offsets):
            raise Fatal(f"slice {records.range} has {count} records and {records.lost} lost, which does not add up")
        if records.first > self.next_offset or records.log_id != self.progress.log_id:
            raise Fatal(
                f"slice {records.range} does not follow offset {self.next_offset} of log {self.progress.log_id}"
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
        sums = map(add, astuple(before.counts), astuple(counts))
        return Progress(before.log_id, self.number, before.start, done.last + 1, Counts(*sums))

    def made_progress(self, now: float) -> None:
        """Rows, dead letters or a commit succeeded. A store that only answers questions makes no progress."""
        self.failures = 0
        self.progress_at = now

    def back_off(self, error: Retryable, longest_s: float, random: Random, now: float) -> None:
        """Delays the next step; the wait grows with each failure."""
        self.not_before = now + backoff(self.failures, error, longest_s, random)
        self.failures += 1

    def due_in(self, limits: InsertLimits, sharing: int, *, end: int, stopping: bool, now: float) -> float:
        """Seconds until the next step, or until the records taken should become a batch: 0 or less means now.

        `sharing`: partitions that have work and share the linger, since a busy node makes about 1 / linger_s inserts a
        second, however many partitions it has. `end`: of the partition in the log.
        """
        wait_s = self.not_before - now
        if self.range_commit is not None:
            return wait_s
        if not self.slices:
            return float("inf")
        if self.full(limits):
            return max(wait_s, 0.0)
        due_s = 0.0 if stopping else self.cut_at + limits.linger_s * sharing - now
        if self.reserved and end > self.next_offset:
            due_s = max(due_s, GATHER_S)  # the next polls bring the rest of the reservation
        return max(wait_s, due_s)


def backoff(failures: int, error: Retryable, longest_s: float, random: Random) -> float:
    """At least `after_s`; at random up to twice as much with each failure, never more than `longest_s`."""
    ceiling = min(error.after_s * (1 << min(failures, 16)), longest_s)
    low = min(error.after_s, ceiling)
    return low + (ceiling - low) * int.from_bytes(random.bytes(2), "big") / 0xFFFF


class Assignments:
    """Used by the processor's thread; `progress` may be read from any."""

    def __init__(
        self, reader: LogReader, limits: InsertLimits, dead_letter_days: int, max_backoff_s: float, clock: Clock,
        random: Random,
    ) -> None:  # fmt: skip
        self._reader = reader
        self._limits = limits
        self._dead_letter_days = dead_letter_days
        self._max_backoff_s = max_backoff_s
        self._clock = clock
        self._random = random
        self._failures = 0
        self._got_many = False
        self._not_before = float("-inf")
        self.owned: dict[int, Partition] = {}
        self.progress: dict[int, Progress] = {}

    def poll(self, now: float, max_wait_s: float, *, stopping: bool) -> None:
        """Waits up to max_wait_s, less when a partition is due before, and takes in what the log returns."""
        wait_s = min([max_wait_s, *self.due_in(now, stopping=stopping).values()])
        if now < self._not_before:
            time.sleep(max(0.0, min(wait_s, self._not_before - now)))
            return
        if any(partition.slices for partition in self.owned.values()):
            if not self._got_many:
                time.sleep(max(0.0, min(wait_s, GATHER_S)))
            wait_s = 0.0
        # The least room of all: the reader chooses of which partition the next slice is.
        rooms = [partition.room(self._limits) for partition in self.owned.values() if not partition.paused]
        events = min((room[0] for room in rooms), default=self._limits.max_events)
        size = min((room[1] for room in rooms), default=self._limits.max_bytes)
        try:
            polled = self._reader.poll(max(wait_s, 0.0), events, size)
        except Retryable as error:
            self._not_before = now + backoff(self._failures, error, self._max_backoff_s, self._random)
            self._failures += 1
            _log.warning("The log could not be read. This will be retried.", why=str(error))
            return
        self._failures = 0
        self._got_many = isinstance(polled, Slice) and len(polled.values) >= MANY_RECORDS
        if polled is not None:
            self._take(polled)

    def due_in(self, now: float, *, stopping: bool) -> dict[int, float]:
        """By partition, seconds until its next step is due, or a batch of what was taken."""
        # Without it, twelve busy partitions would make twelve small inserts in each linger.
        sharing = sum(partition.has_work for partition in self.owned.values())
        due = {}
        for number, partition in self.owned.items():
            end = self._reader.ends().get(number, 0) if partition.reserved else 0
            due[number] = partition.due_in(self._limits, sharing, end=end, stopping=stopping, now=now)
        return due

    def publish_progress(self) -> None:
        """Replaces `progress` as a whole, so that other threads read it without a lock."""
        self.progress = {number: partition.progress for number, partition in self.owned.items()}

    def lag(self) -> int:
        """Durable events that are not committed."""
        ends = self._reader.ends()
        return sum(max(0, ends.get(n, 0) - each.progress.committed) for n, each in self.owned.items())

    def _take(self, polled: Slice | Assigned | Revoked) -> None:
        now = self._clock.monotonic()
        if isinstance(polled, Slice):
            partition = self.owned.get(polled.partition)
            if partition is not None:
                partition.take(polled)
                if not partition.has_work and partition.slices:
                    partition.has_work, partition.progress_at = True, now
        elif isinstance(polled, Assigned):
            partition = Partition(polled, LedgerCheckpoints(self._dead_letter_days), now)
            self.owned[partition.number] = partition
            self.publish_progress()
            _log.info("The processor reads a partition.", partition=partition.number,
                      offset=partition.progress.committed, recovering=partition.reserved is not None)  # fmt: skip
        else:
            self.owned.pop(polled.partition, None)
            self.publish_progress()
