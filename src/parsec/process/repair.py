"""Repair: events that the store has lost are stored again from the log, exactly once.

In: gaps (parsec.process.comparison), the log's records, the store's positions. Out: rows and dead letters at their old
positions; no commit, since the ledger has counted them. Errors: a Retryable step is repeated after a growing wait;
Fatal ends the processor's thread. Next: parsec.process.range_commit.

Invariants, cited by tests
 1. A chunk is a doubtful range (parsec.process.range_commit 5, 11): the store is asked which positions it has, and only
    the missing ones are inserted. Nothing is remembered between chunks that a kill could lose: the next start compares
    again and goes on.
 2. A missing position becomes what it was: the same row, or a dead letter. One whose id the store has at another
    position, received within the dedup window of it, was a duplicate, or is stored again under a later offset; it stays
    out. So does an event that has expired since (parsec.process.lost_records).
 3. A chunk is bounded in records and bytes, and takes its turn between two ranges of new events.
 4. A ledger's first checkpoint, which tells its store from another one, is saved last: a repair that was cut off leaves
    a store that is not taken for whole.
 5. An event that is repeated while its first copy is lost stays a duplicate: its id is claimed from the log, and the
    first copy is stored again before the repeat is judged (parsec.process.claims).
"""

import threading
from collections import deque
from collections.abc import Collection, Iterator, Sequence
from typing import NamedTuple

import structlog

from parsec.api.repair import StoreGap
from parsec.core.clock import Clock, Random
from parsec.core.errors import Poison, Retryable
from parsec.ports.broker import Progress, Range
from parsec.ports.dedup import Position
from parsec.ports.store import LedgerCheckpoint, Row, StoreWriter
from parsec.process.batching import FIRST_ATTEMPT, Batch
from parsec.process.bisect import Bisect
from parsec.process.lost_records import LostRecords, chunk_end, chunk_start
from parsec.process.partitions import backoff
from parsec.process.range_commit import Claim, Commit, FindLanded, Insert, InsertDeadLetters, RangeCommit, Step
from parsec.telemetry import Telemetry

_log = structlog.get_logger(__name__)

LONGEST_BACKOFF_S = 5.0
SKIP_S = 0.1
"""How long a turn may look for a chunk in which something is missing."""
REPAIRED_TABLES = ("events", "dead_letters")


class _Chunk(NamedTuple):
    """`events`: how many events and dead letters it stores again."""

    commit: RangeCommit
    events: int


class Repair:
    """`request`, `save`, `idle` and `stored_again` are for the thread that compares, the rest for the processor's,
    which calls `turn` until it has set `idle`."""

    def __init__(
        self, lost: LostRecords, store: StoreWriter, telemetry: Telemetry, clock: Clock, random: Random
    ) -> None:
        self._lost = lost
        self._store = store
        self._telemetry = telemetry
        self._clock = clock
        self._random = random
        self._bisect = Bisect(clock)
        self._gaps: deque[StoreGap] = deque()
        self._checkpoints: Sequence[LedgerCheckpoint] = ()
        self._held: dict[tuple[str, int], int] = {}
        self._at = 0
        self._chunk: _Chunk | None = None
        self._failures = 0
        self.problem: str | None = None
        self._not_before = float("-inf")
        self.stored_again = 0
        self.idle = threading.Event()
        self.idle.set()

    def request(self, gaps: Sequence[StoreGap]) -> None:
        """Stores again what is missing in these gaps; call it while `idle` is set."""
        self.stored_again = 0
        self._gaps.extend(gaps)
        self.idle.clear()  # last: from here on the processor's thread works on them

    def save(self, checkpoints: Sequence[LedgerCheckpoint]) -> None:
        """Saves these; call it while `idle` is set."""
        if checkpoints:
            self._checkpoints = checkpoints
            self.idle.clear()  # last, as above

    def first_held(self, progress: Progress) -> int:
        """The first committed offset of a partition that the log had when its repair began."""
        return self._held.get((progress.log_id, progress.partition), progress.committed)

    def turn(self, owned: Collection[Progress]) -> bool:
        """Stores one chunk again, of a partition that this process owns. True: there is more to do at once."""
        if not (self._gaps or self._checkpoints):
            self.idle.set()
            return False
        if self._clock.monotonic() < self._not_before:
            return False
        try:
            if self._checkpoints:
                self._store.save_checkpoint(*self._checkpoints)
                self._checkpoints = ()
            gap = self._gaps[0] if self._gaps else None
            progress = next((each for each in owned if gap and _is_of(gap, each)), None)
            if gap and progress and self._chunk is None and self._at == 0:
                self._held[gap.log_id, gap.partition] = self._lost.first_held(progress)
            if gap and (progress is None or self._store_chunk(gap)):
                self._gaps.popleft()
                self._chunk, self._at = None, 0
            self._failures, self.problem = 0, None
        except Retryable as error:
            self.problem = str(error)
            self._not_before = self._clock.monotonic() + backoff(self._failures, error, LONGEST_BACKOFF_S, self._random)
            self._failures += 1
            _log.warning("Lost events could not be stored again. This will be retried.", why=str(error))
        return True

    def restore(self, positions: Collection[Position], committed: int) -> bool:
        """Stores again the chunks of these positions, of one partition, below `committed`. True: some of them were
        lost. For the processor's thread, whatever `turn` works on. Raises Retryable."""
        restored = [
            self._restore_chunk(log_id, partition, first, committed)
            for log_id, partition, first in sorted({(*each[:2], chunk_start(each.offset)) for each in positions})
        ]
        return any(restored)

    def _restore_chunk(self, log_id: str, partition: int, first: int, committed: int) -> bool:
        end, found = chunk_end(first, committed), False
        while first < end:
            chunk, first = self._begin(Range(log_id, partition, first, end - 1), end)
            if chunk is not None:
                self._perform(chunk)
                found = True
        return found

    def lost_rows(self, progress: Progress) -> Iterator[Sequence[Row]]:
        """As LostRecords.of_window."""
        return self._lost.of_window(progress)

    def _store_chunk(self, gap: StoreGap) -> bool:
        """One chunk of the gap, or what is left of it after a failure. True: it was the last one. Raises Retryable."""
        until = self._clock.monotonic() + SKIP_S
        while self._chunk is None:
            first = _next_in(gap, self._at)
            if first >= gap.end:
                return True
            asked = Range(gap.log_id, gap.partition, first, chunk_end(first, gap.end) - 1)
            is_recounted = gap.first_checkpoint and gap.missing > 0
            self._chunk, self._at = self._begin(asked, gap.end, recounted=is_recounted)
            if self._clock.monotonic() >= until:
                break
        if self._chunk is not None:
            self._perform(self._chunk)
            self._chunk = None
        return self._at >= gap.end

    def _begin(self, asked: Range, end: int, *, recounted: bool = False) -> tuple[_Chunk | None, int]:
        """What is to be inserted of a range, or of its beginning; None: nothing. And the offset after it. Raises
        Retryable."""
        lost = self._lost.find(asked, end, recounted=recounted)
        if lost.records is None:
            return None, lost.next_offset
        batch = Batch(lost.records.range, [lost.records], FIRST_ATTEMPT, doubtful=True, again=True)
        commit = RangeCommit(batch, lost.rows, lost.letters, self._bisect)
        assert isinstance(commit.step(), FindLanded)
        commit.landed(set(), set())  # just asked
        return _Chunk(commit, len(lost.records.offsets)), lost.next_offset

    def _perform(self, chunk: _Chunk) -> None:
        """All steps of a chunk. After Retryable it is called again."""
        commit, events = chunk
        step = commit.step()
        while not isinstance(step, Commit):
            try:
                self._do(commit, step)
            except Retryable:
                if isinstance(step, Insert):
                    commit.in_doubt()
                raise
            except Poison as error:
                if not isinstance(step, Insert) or not commit.refused(str(error)):
                    raise Retryable(f"the store refuses what is stored again: {error}", after_s=1.0) from error
            step = commit.step()
        self.stored_again += events
        self._telemetry.stored_again.inc(events)

    def _do(self, chunk: RangeCommit, step: Step) -> None:
        match step:
            case FindLanded():
                found = self._store.stored_offsets(step.block.range)
                chunk.landed(found, self._store.dead_letter_offsets(step.block.range) if found else set())
            case Claim():
                chunk.claimed({})
            case Insert():
                self._store.insert(step.block.rows, step.token)
                chunk.done()
            case InsertDeadLetters():
                self._store.insert_dead_letters(step.letters)
                chunk.done()
            case _:  # there is no reservation, and no claim to release
                chunk.done()


def _next_in(gap: StoreGap, offset: int) -> int:
    """The first offset from `offset` on at which something may be missing; the end of the gap if there is none."""
    offset = max(offset, gap.first)
    if not gap.stretches:
        return offset
    return next((max(first, offset) for first, end in gap.stretches if end > offset), gap.end)


def _is_of(gap: StoreGap, progress: Progress) -> bool:
    return (gap.log_id, gap.partition) == (progress.log_id, progress.partition)
