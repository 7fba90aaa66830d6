"""A partition that this process owns: the batch of it that is in hand, and when its next turn is due.

In: what happened to it, and when. Out: seconds until something should be done. Errors: none; nothing here waits or asks
anybody. Next: parsec.process.batching.
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
"""How long a little waits for more: a busy log has a record each millisecond, and each would cost a turn."""


class PartitionState:
    """Times are monotonic seconds. Used by the processor's thread."""

    def __init__(self, partition: Partition, marks: LedgerCheckpoints, now: float) -> None:
        self.partition = partition
        self.marks = marks
        self.passage: RangeCommit | None = None
        self.paused = False
        self.failures = 0
        self.not_before = now
        self.cut_at = float("-inf")
        self.seen_below: int | None = None
        self.promised: ExpiryBound | None = None
        self.waits_since: float | None = None
        self.moved_at = now

    @property
    def has_work(self) -> bool:
        return self.passage is not None or self.partition.waiting

    def moved(self, now: float) -> None:
        """Something landed. Answers to questions do not count: a store that only answers is no progress."""
        self.failures = 0
        self.moved_at = now

    def hold_back(self, error: Retryable, longest_s: float, random: Random, now: float) -> None:
        """No step before a wait that grows with each failure."""
        self.not_before = now + backoff(self.failures, error, longest_s, random)
        self.failures += 1

    def due_in(self, limits: InsertLimits, sharing: int, *, end: int, stopping: bool, now: float) -> float:
        """Seconds until what is waiting should become a batch: 0 or less for now, infinite when nothing is waiting.

        `sharing`: partitions that have work and so share the linger, since a busy node makes about 1 / linger_s inserts
        a second, however many it has. `end`: of the partition in the log.
        """
        partition = self.partition
        if not partition.waiting:
            return float("inf")
        if partition.full(limits):
            return 0.0
        due_in = 0.0 if stopping else self.cut_at + limits.linger_s * sharing - now
        if partition.recovering and end > partition.next_offset:
            return max(due_in, GATHER_S)  # the next polls bring what was reserved
        return due_in


def backoff(failures: int, error: Retryable, longest_s: float, random: Random) -> float:
    """At least `after_s`; at random up to twice as much with each failure, never more than `longest_s`."""
    ceiling = min(error.after_s * (1 << min(failures, 16)), longest_s)
    low = min(error.after_s, ceiling)
    return low + (ceiling - low) * int.from_bytes(random.bytes(2), "big") / 0xFFFF


MANY_RECORDS = 500
"""From one poll: more of them wait, so that there is nothing to gather by waiting."""

_log = structlog.get_logger(__name__)


class Assignments:
    """Used by the processor's thread; `progress` may be read from any."""

    def __init__(
        self,
        reader: LogReader,
        limits: InsertLimits,
        letters_days: int,
        max_backoff_s: float,
        clock: Clock,
        random: Random,
    ) -> None:
        self._reader = reader
        self._limits = limits
        self._letters_days = letters_days
        self._max_backoff_s = max_backoff_s
        self._clock = clock
        self._random = random
        self._owned: dict[int, PartitionState] = {}
        self._failures = 0
        self._got_many = False
        self._not_before = float("-inf")
        self.progress: dict[int, Progress] = {}

    def partitions(self) -> list[PartitionState]:
        return list(self._owned.values())

    def poll(self, max_wait_s: float, *, stopping: bool) -> None:
        """Waits up to max_wait_s, less when a partition is ready before, and takes in what happened."""
        now = self._clock.monotonic()
        wait_s = min([max_wait_s, *(self.ready_in(owned, now, stopping=stopping) for owned in self._owned.values())])
        if now < self._not_before:
            time.sleep(max(0.0, min(wait_s, self._not_before - now)))
            return
        if any(owned.partition.waiting for owned in self._owned.values()):
            if not self._got_many:
                # A busy log has a record each millisecond; without a nap each would cost a turn and a tiny slice.
                time.sleep(max(0.0, min(wait_s, GATHER_S)))
            wait_s = 0.0
        rooms = [owned.partition.room(self._limits) for owned in self._owned.values() if not owned.paused]
        events = min((room[0] for room in rooms), default=self._limits.max_events)
        size = min((room[1] for room in rooms), default=self._limits.max_bytes)
        try:
            happened = self._reader.poll(max(wait_s, 0.0), events, size)
        except Retryable as error:
            self._not_before = now + backoff(self._failures, error, self._max_backoff_s, self._random)
            self._failures += 1
            _log.warning("The log could not be read and is tried again.", why=str(error))
            return
        self._failures = 0
        self._got_many = isinstance(happened, Slice) and len(happened.values) >= MANY_RECORDS
        if happened is not None:
            self._take(happened)

    def ready_in(self, owned: PartitionState, now: float, *, stopping: bool) -> float:
        """Seconds until this partition has its next step, or a batch that should not wait longer."""
        held_s = owned.not_before - now
        if owned.passage is not None:
            return held_s
        end = self._reader.ends().get(owned.partition.number, 0) if owned.partition.recovering else 0
        sharing = sum(each.has_work for each in self._owned.values())
        due_s = owned.due_in(self._limits, sharing, end=end, stopping=stopping, now=now)
        return max(held_s, due_s)

    def publish_progress(self) -> None:
        """After a commit. Replaced as a whole, so that other threads read it without a lock."""
        self.progress = {number: owned.partition.progress for number, owned in self._owned.items()}

    def lag(self) -> int:
        """Durable events that are not committed."""
        ends = self._reader.ends()
        return sum(max(0, ends.get(n, 0) - o.partition.progress.committed) for n, o in self._owned.items())

    def _take(self, happened: Slice | Assigned | Revoked) -> None:
        now = self._clock.monotonic()
        if isinstance(happened, Assigned):
            partition = Partition(happened)
            self._owned[partition.number] = PartitionState(partition, LedgerCheckpoints(self._letters_days), now)
            self.publish_progress()
            _log.info("Reading a partition.", partition=partition.number, offset=partition.progress.committed,
                      recovering=partition.recovering)  # fmt: skip
        elif isinstance(happened, Revoked):
            self._owned.pop(happened.partition, None)
            self.publish_progress()
        elif (owned := self._owned.get(happened.partition)) is not None:
            if not owned.has_work:
                owned.moved_at = now
            owned.partition.take(happened)
