"""What comes in from the log: the partitions that are owned, and what was taken of each.

In: what the broker has to say. Out: partitions with something to do, seconds until they have, how far all of them are.
Errors: Fatal; while the broker cannot be read it is asked again after a growing wait. Next: parsec.process.backlog.
"""

import time

import structlog

from parsec.core.clock import Clock, Random
from parsec.core.errors import Retryable
from parsec.ports.broker import Assigned, LogReader, Progress, Revoked, Slice
from parsec.process.backlog import Limits, Partition
from parsec.process.marks import Marks
from parsec.process.owned import GATHER_S, Owned, backoff

MANY_RECORDS = 500
"""From one poll: more of them wait, so that there is nothing to gather by waiting."""

_log = structlog.get_logger(__name__)


class Intake:
    """Used by the processor's thread; `progress` may be read from any."""

    def __init__(
        self,
        reader: LogReader,
        limits: Limits,
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
        self._owned: dict[int, Owned] = {}
        self._failures = 0
        self._got_many = False
        self._not_before = float("-inf")
        self.progress: dict[int, Progress] = {}

    def partitions(self) -> list[Owned]:
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

    def ready_in(self, owned: Owned, now: float, *, stopping: bool) -> float:
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
            self._owned[partition.number] = Owned(partition, Marks(self._letters_days), now)
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
