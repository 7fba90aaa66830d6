"""The partitions that this process owns: polls the log for them, and says when each has its next step.

In: assignments, revocations and slices (parsec.ports.broker). Out: partitions with a batch or a step that is due.
Errors: a log that cannot be read is polled again after a wait that grows; Fatal. Next: parsec.process.batching.
"""

import time

import structlog

from parsec.core.clock import Clock, Random
from parsec.core.errors import Retryable
from parsec.ports.broker import Assigned, LogReader, Progress, Revoked, Slice
from parsec.ports.store import ExpiryBound
from parsec.process.batching import InsertLimits, Partition
from parsec.process.ledger import LedgerCheckpoints
from parsec.process.range_commit import RangeCommit

GATHER_S = 0.05
"""The wait between polls while records wait to be inserted: on a busy log each record would cost a turn of its own."""
MANY_RECORDS = 500
"""After a poll with so many records the next poll follows at once: more of them wait."""

_log = structlog.get_logger(__name__)


class PartitionState:
    """A partition, the commit of its range in progress, and its timers in monotonic seconds.

    `has_work`: some records taken are not committed yet. `landed_below`: ranges that begin below this offset may be in
    the store; None until the store was asked. `expiry_bound`: of checkpoints that an earlier owner saved.
    """

    def __init__(self, partition: Partition, checkpoints: LedgerCheckpoints, now: float) -> None:
        self.partition = partition
        self.checkpoints = checkpoints
        self.range_commit: RangeCommit | None = None
        self.has_work = False
        self.paused = False
        self.failures = 0
        self.not_before = now
        self.cut_at = float("-inf")
        self.landed_below: int | None = None
        self.expiry_bound: ExpiryBound | None = None
        self.conflicts_since: float | None = None
        self.progress_at = now

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
        wait_s, partition = self.not_before - now, self.partition
        if self.range_commit is not None:
            return wait_s
        if not partition.slices:
            return float("inf")
        if partition.full(limits):
            return max(wait_s, 0.0)
        due_s = 0.0 if stopping else self.cut_at + limits.linger_s * sharing - now
        if partition.reserved and end > partition.next_offset:
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
        self,
        reader: LogReader,
        limits: InsertLimits,
        dead_letter_days: int,
        max_backoff_s: float,
        clock: Clock,
        random: Random,
    ) -> None:
        self._reader = reader
        self._limits = limits
        self._dead_letter_days = dead_letter_days
        self._max_backoff_s = max_backoff_s
        self._clock = clock
        self._random = random
        self._failures = 0
        self._got_many = False
        self._not_before = float("-inf")
        self.owned: dict[int, PartitionState] = {}
        self.progress: dict[int, Progress] = {}

    def poll(self, now: float, max_wait_s: float, *, stopping: bool) -> None:
        """Waits up to max_wait_s, less when a partition is due before, and takes in what the log returns."""
        wait_s = min([max_wait_s, *self.due_in(now, stopping=stopping).values()])
        if now < self._not_before:
            time.sleep(max(0.0, min(wait_s, self._not_before - now)))
            return
        if any(state.partition.slices for state in self.owned.values()):
            if not self._got_many:
                time.sleep(max(0.0, min(wait_s, GATHER_S)))
            wait_s = 0.0
        # The least room of all: the reader chooses of which partition the next slice is.
        rooms = [state.partition.room(self._limits) for state in self.owned.values() if not state.paused]
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
        sharing = sum(state.has_work for state in self.owned.values())
        due = {}
        for number, state in self.owned.items():
            end = self._reader.ends().get(number, 0) if state.partition.reserved else 0
            due[number] = state.due_in(self._limits, sharing, end=end, stopping=stopping, now=now)
        return due

    def publish_progress(self) -> None:
        """Replaces `progress` as a whole, so that other threads read it without a lock."""
        self.progress = {number: state.partition.progress for number, state in self.owned.items()}

    def lag(self) -> int:
        """Durable events that are not committed."""
        ends = self._reader.ends()
        return sum(max(0, ends.get(n, 0) - s.partition.progress.committed) for n, s in self.owned.items())

    def _take(self, polled: Slice | Assigned | Revoked) -> None:
        now = self._clock.monotonic()
        if isinstance(polled, Slice):
            state = self.owned.get(polled.partition)
            if state is not None:
                state.partition.take(polled)
                if not state.has_work and state.partition.slices:
                    state.has_work, state.progress_at = True, now
        elif isinstance(polled, Assigned):
            partition = Partition(polled)
            self.owned[partition.number] = PartitionState(partition, LedgerCheckpoints(self._dead_letter_days), now)
            self.publish_progress()
            _log.info("The processor reads a partition.", partition=partition.number,
                      offset=partition.progress.committed, recovering=partition.reserved is not None)  # fmt: skip
        else:
            self.owned.pop(polled.partition, None)
            self.publish_progress()
