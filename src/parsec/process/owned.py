"""A partition that this process owns: the batch of it that is in hand, and when its next turn is due.

In: what happened to it, and when. Out: seconds until something should be done. Errors: none; nothing here waits or asks
anybody. Next: parsec.process.backlog.
"""

from parsec.core.clock import Random
from parsec.core.errors import Retryable
from parsec.ports.store import Promise
from parsec.process.backlog import Limits, Partition
from parsec.process.marks import Marks
from parsec.process.ranges import Passage

GATHER_S = 0.05
"""How long a little waits for more: a busy log has a record each millisecond, and each would cost a turn."""


class Owned:
    """Times are monotonic seconds. Used by the processor's thread."""

    def __init__(self, partition: Partition, marks: Marks, now: float) -> None:
        self.partition = partition
        self.marks = marks
        self.passage: Passage | None = None
        self.paused = False
        self.failures = 0
        self.not_before = now
        self.cut_at = float("-inf")
        self.seen_below: int | None = None
        self.promised: Promise | None = None
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

    def due_in(self, limits: Limits, sharing: int, *, end: int, stopping: bool, now: float) -> float:
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
